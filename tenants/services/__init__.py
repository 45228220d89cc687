"""Changes to the public tables and to the schemas of clients, one verb each."""
