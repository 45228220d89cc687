"""Schemas and roles of clients: made from a kept script, migrated together, held apart by rights, all by the owner."""
