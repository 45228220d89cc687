"""The public proof of the ledger: what is tried in the suite, and for longer by `make prove`."""
