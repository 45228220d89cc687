"""Pages of the portal, by what they are about."""
