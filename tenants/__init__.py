"""Floor 1: whose house it is. Providers, clients, users, roles, access, audit; schema, role and task plumbing."""
