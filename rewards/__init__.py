"""Floor 4: what a member can get, and who is offered what."""
