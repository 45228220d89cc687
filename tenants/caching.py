"""Cache keys carry the client: two clients never read each other's values."""

from tenants.context import current_schema


def make_key(key: str, key_prefix: str, version: int) -> str:
    """`key` under the client we stand in, or under `public`."""
    return f"{current_schema() or 'public'}:{key_prefix}:{version}:{key}"
