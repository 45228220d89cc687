"""Journeys that cross apps, one function each, read top to bottom."""
