"""One table of addresses for the platform host, one for client hosts."""
