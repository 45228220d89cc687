"""How a member's identifiers may be written, and how they are kept."""

import phonenumbers
from babel.core import get_global

from tenants.context import current_client
from tenants.models import Client


def region_of(client: Client) -> str:
    """The country whose phone numbers may be written without a country code: that of the client's time zone."""
    return str(get_global("zone_territories").get(client.time_zone) or "ZZ")


def spellings(bare: str) -> list[str]:
    """As written, as e-mails and ids are kept, as cards and numbers are kept."""
    return list(dict.fromkeys([bare, bare.lower(), bare.replace(" ", "").upper()]))


def as_phone(bare: str) -> list[str]:
    """As phone numbers are kept, where it can be one (E.164)."""
    if not all(c.isdigit() or c in "+-/(). " for c in bare) or sum(c.isdigit() for c in bare) < 6:
        return []
    try:
        number = phonenumbers.parse(bare, region_of(current_client()))
    except phonenumbers.NumberParseException:
        return []
    return [phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)]
