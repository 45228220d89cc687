"""What a shop's developers need: keys, the log of their requests, the description of the API."""
