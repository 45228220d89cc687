"""What made-up shops are called and what they sell."""

from typing import Final

GIVEN_NAMES: Final = (
    "Anna", "Ben", "Clara", "David", "Elif", "Emma", "Felix", "Finn", "Frieda", "Greta", "Hanna", "Henry", "Ida",
    "Ivan", "Jana", "Jonas", "Jule", "Karl", "Katja", "Lara", "Lea", "Leon", "Lina", "Louis", "Lukas", "Maja",
    "Marie", "Mats",
    "Mia", "Milan", "Mila", "Moritz", "Nele", "Nina", "Noah", "Nora", "Oskar", "Paul", "Paula", "Pia", "Rosa", "Samuel",
    "Sara", "Selin", "Sofia", "Theo", "Tilda", "Tom", "Yusuf", "Zoe",
)  # fmt: skip
FAMILY_NAMES: Final = (
    "Albrecht", "Arslan", "Bauer", "Becker", "Berger", "Brandt", "Braun", "Busch", "Demir", "Dietrich", "Ebert",
    "Engel", "Fischer", "Frank", "Franke", "Friedrich", "Fuchs", "Graf", "Haas", "Hahn", "Hartmann", "Heinrich",
    "Herrmann",
    "Hoffmann", "Huber", "Jansen", "Kaiser", "Kaya", "Keller", "Klein", "Koch", "Kowalski", "Krause", "Kuhn", "Lang",
    "Lehmann", "Lorenz", "Maier", "Mayer", "Neumann", "Novak", "Otto", "Peters", "Pohl", "Richter", "Roth", "Sauer",
    "Schmidt", "Schneider", "Schulz", "Schuster", "Seidel", "Simon", "Sommer", "Stein", "Vogel", "Wagner", "Weber",
    "Winkler", "Winter", "Wolf", "Yilmaz", "Ziegler", "Zimmermann",
)  # fmt: skip

CITIES: Final = ("Berlin", "Hamburg", "Köln", "Leipzig", "München", "Stuttgart")
WEB: Final = "web"
CATALOGUE: Final = {
    "coffee": ("House blend", "Espresso beans", "Decaf", "Single origin Ethiopia", "Cold brew"),
    "tea": ("Earl Grey", "Green sencha", "Peppermint", "Rooibos", "Chai"),
    "bakery": ("Butter croissant", "Sourdough loaf", "Cinnamon bun", "Rye roll", "Carrot cake"),
    "kitchen": ("Enamel mug", "Hand grinder", "Dripper", "Kettle", "Linen towel"),
    "books": ("Cookbook", "Novel", "City guide", "Notebook", "Calendar"),
    "care": ("Hand soap", "Candle", "Bath salt", "Lip balm", "Body oil"),
    "garden": ("Herb seeds", "Watering can", "Clay pot", "Garden gloves", "Bird feeder"),
    "gifts": ("Gift box", "Greeting card", "Postcard set", "Ribbon", "Jam trio"),
}

TRADES: Final = (
    ("Bakery", "cafe"), ("Bookshop", "retail"), ("Bike Works", "outdoor"), ("Café", "cafe"),
    ("Hair & Style", "services"), ("Outdoor", "outdoor"), ("Garden Centre", "retail"), ("Toys", "retail"),
    ("Yoga", "services"), ("Wine & Deli", "retail"),
)  # fmt: skip
PLACES: Final = (
    ("Europe/Berlin", "EUR"), ("Europe/London", "GBP"), ("America/New_York", "USD"), ("Europe/Zurich", "CHF"),
    ("Europe/Vienna", "EUR"), ("America/Denver", "USD"),
)  # fmt: skip
