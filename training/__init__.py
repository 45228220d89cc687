"""Floor 4: what staff learn and how they do."""
