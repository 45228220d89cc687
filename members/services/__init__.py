"""Changes to members' rows, split by noun."""
