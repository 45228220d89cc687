"""Changes to programs, catalogue, and the tills with those who work at them."""
