"""What a phone calls itself, in two words that its owner knows."""

from typing import Final

from django.http import HttpRequest

_MACHINES: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "Chromebook"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)
_BROWSERS: Final = (
    ("SamsungBrowser", "Samsung Internet"),
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)


def label_of(request: HttpRequest) -> str:
    """The machine and the browser: iPhone · Safari; nothing where it does not say."""
    said = request.headers.get("User-Agent", "")
    return " · ".join(filter(None, (_first(said, _MACHINES), _first(said, _BROWSERS))))


def _first(said: str, names: tuple[tuple[str, str], ...]) -> str:
    return next((name for mark, name in names if mark in said), "")
