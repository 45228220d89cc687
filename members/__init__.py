"""Floor 3: who, and what happened. Members, purchases, ledger, tier status, insights."""
