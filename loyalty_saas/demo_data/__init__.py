"""Made-up shops for the demo: a year of members, purchases and activities, the same for the same seed."""
