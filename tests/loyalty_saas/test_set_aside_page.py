"""The portal's page of what could not be credited: try again, or close with a reason; both are written down."""

import pytest
from django.utils import timezone

from members.models import WorkItem
from tenants.models import AuditEvent, Client
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import cost
from tests.loyalty_saas.shops import credit, points_of, sale
from tests.loyalty_saas.test_portal import owner, text
from tests.machines import Answer, Machine

__all__ = ["owner"]


@pytest.fixture
def stuck(till: Machine, ana: Answer) -> str:
    """A sale that was set aside."""
    made = till.post("/purchases", sale("ana-1", "R-77"))
    WorkItem.objects.filter(pk=made["id"]).update(quarantined_at=timezone.now(), attempts=3, error="ValueError()")
    return str(made["id"])


def test_it_is_found_from_the_overview_and_released(
    shop: Client, owner: ClientBrowser, till: Machine, stuck: str
) -> None:
    before = points_of(till, "ana-1")
    assert 'href="/set-aside/"' in owner.get("/").content.decode()
    assert "R-77" in text(owner.get("/set-aside/"))
    assert owner.post(f"/set-aside/{stuck}/release/").status_code == 302
    assert AuditEvent.objects.filter(client=shop, action="set_aside.released", subject=stuck).exists()
    credit()
    assert points_of(till, "ana-1") == before + 10
    assert "Nothing is set aside" in text(owner.get("/set-aside/"))


def test_it_is_closed_with_a_reason_that_the_receipt_and_the_audit_tell(
    shop: Client, owner: ClientBrowser, till: Machine, stuck: str
) -> None:
    refused = owner.post(f"/set-aside/{stuck}/dismiss/", {"reason": ""})
    assert (refused.status_code, f'id="error-{stuck}"' in refused.content.decode()) == (422, True)
    assert owner.post(f"/set-aside/{stuck}/dismiss/", {"reason": "Rung up twice"}).status_code == 302
    event = AuditEvent.objects.get(client=shop, action="set_aside.dismissed", subject=stuck)
    assert event.detail == {"reason": "Rung up twice"}
    said = {one["sentence"] for one in till.get(f"/purchases/{stuck}")["traces"]}
    assert "“A point per euro” gave nothing: it could not be credited, and was closed by hand: Rung up twice" in said
    assert not WorkItem.objects.exists()


def test_what_somebody_else_has_settled_says_so(owner: ClientBrowser, stuck: str) -> None:
    owner.post(f"/set-aside/{stuck}/release/")
    for path, fields in (("release", {}), ("dismiss", {"reason": "Second"})):
        answer = owner.post(f"/set-aside/{stuck}/{path}/", fields)
        assert answer.status_code == 422
    assert "does not wait for a person any more" in text(owner.post(f"/set-aside/{stuck}/release/"))


def test_the_page_costs_the_same_for_any_length(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    counts = []
    for number in (1, 9):
        for n in range(number):
            till.post("/purchases", sale("ana-1", f"S-{number}-{n}"))
        WorkItem.objects.update(quarantined_at=timezone.now())
        counts.append(cost(owner, "/set-aside/"))
    assert counts[0] == counts[1] <= 9
