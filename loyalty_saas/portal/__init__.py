"""The shop's pages on its own host: what the program brings, members, promises, and files on their way in."""
