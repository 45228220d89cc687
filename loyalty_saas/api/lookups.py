"""What callers name and we look up: members by any identifier, locations and units by code."""

from uuid import UUID

from django.utils.translation import gettext as _

from loyalty_saas.api.base import ApiRequest
from loyalty_saas.api.problems import Problem
from loyalty_saas.identifiers import as_phone, spellings
from members.queries import member_ids_for
from members.services.refusals import UnknownMember
from programs.models import Location
from programs.queries import Unit, location_by_code, unit_by_code

LONGEST_REFERENCE = 254


def member_id_of(reference: str, *, field: str = "") -> UUID:
    """
    The member whom an id, a member number or any identifier leads to.

    :raises UnknownMember: if it leads to nobody, or to two
    """
    bare = reference.strip()
    if bare and len(bare) <= LONGEST_REFERENCE and "\x00" not in bare:
        written = spellings(bare)
        found = member_ids_for(written) or member_ids_for(as_phone(bare))
        for spelling in (*written, *found):
            if spelling in found:
                return found[spelling]
    raise UnknownMember(_("No member has this identifier."), field=field)


def location_for(request: ApiRequest, code: str | None) -> tuple[UUID | None, str]:
    """
    The location a caller names, or the one that the key is bound to.

    :raises Problem: there is none of that code, or the key is for another
    """
    bound = request.auth.location_id
    if not code:
        own = Location.objects.filter(pk=bound).first() if bound else None
        return (own.pk, own.code) if own else (bound, "")
    location = location_by_code(code)
    if location is None:
        raise Problem("unknown_location", _("There is no location of this code."), field="location")
    if bound and location.pk != bound:
        raise Problem("other_location", _("This key is for another location."), field="location")
    return location.pk, location.code


def unit_of(code: str) -> Unit:
    """The unit of that code. :raises Problem: if there is none"""
    unit = unit_by_code(code)
    if unit is None:
        raise Problem("unknown_unit", _("There is no unit of this code."), field="unit")
    return unit
