"""Clients of any size with a made-up past, written by a few statements per ten thousand members."""
