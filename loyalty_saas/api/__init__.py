"""The API's front door: every answer is JSON, every error a problem (RFC 9457)."""
