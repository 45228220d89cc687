"""Performance claims, each measured against a baseline in the same run: `make bench` or `make bench NAME=accrual`."""
