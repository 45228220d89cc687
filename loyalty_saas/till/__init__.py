"""The till: an enrolled device at a location, unlocked by a clerk's PIN."""
