"""The member's card on a phone: opened by a one-time link, installed as an app, there without a network."""
