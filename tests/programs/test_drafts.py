"""The draft: one at most, changed by whoever has seen it, gone when published; published versions never change."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connections, transaction

from loyalty_saas.flows.programs import publish, publish_draft
from programs.models import EarningRule, Program
from programs.queries import draft, program_in_force, versions
from programs.rules import ProgramError
from programs.services.drafts import DraftChanged, begin_draft, change_draft, discard_draft
from programs.services.publishing import next_version
from rewards.models import Reward
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import Client
from tests.members.world import DAY, NOON, PENNY, live, program

REWARD = {"code": "mug", "name": "Mug", "kind": "product", "unit": "points", "price": 500, "value": 300}
LATER = NOON + DAY


def named(name: str, **given: Any) -> dict[str, Any]:
    return {**program(PENNY, **given), "name": name}


def begun(name: str = "Draft", *, at: datetime = NOON) -> Program:
    with transaction.atomic():
        return begin_draft(document=named(name), at=at)


def the_draft() -> Program:
    found = draft()
    assert found is not None
    return found


def states() -> dict[int, str]:
    return dict(Program.objects.values_list("version", "status"))


def test_a_draft_bears_the_next_number_and_is_not_in_force(acme: Client) -> None:
    live()
    begun()
    assert states() == {1: "published", 2: "draft"}
    assert (program_in_force().version, next_version(), the_draft().name) == (1, 2, "Draft")
    assert [one.version for one in versions()] == [1]


def test_there_is_one_draft_at_most(acme: Client) -> None:
    first = begun("First")
    with pytest.raises(DraftChanged) as refusal:
        begun("Second")
    assert refusal.value.draft == first
    assert the_draft().name == "First"


def test_the_database_holds_that_there_is_one(acme: Client) -> None:
    begun()
    with pytest.raises(IntegrityError, match="program_one_draft"), transaction.atomic():
        Program.objects.create(version=9, name="Other", document={})


def test_a_change_names_what_it_has_seen(acme: Client) -> None:
    by, seen = uuid7(), begun().edited_at
    with transaction.atomic():
        changed = change_draft(document=named("Changed"), seen=seen, at=LATER, by=by)
    assert (changed.version, changed.name, changed.edited_at, changed.edited_by) == (1, "Changed", LATER, by)
    with pytest.raises(DraftChanged), transaction.atomic():
        change_draft(document=named("Too late"), seen=seen, at=LATER, by=by)
    assert the_draft().document["name"] == "Changed"


def test_two_changes_within_one_tick_of_the_clock_are_two(acme: Client) -> None:
    seen = begun().edited_at
    with transaction.atomic():
        assert change_draft(document=named("One"), seen=seen, at=NOON).edited_at == NOON + timedelta(microseconds=1)
    with pytest.raises(DraftChanged), transaction.atomic():
        change_draft(document=named("Two"), seen=seen, at=NOON)


def test_a_first_change_begins_the_draft(acme: Client) -> None:
    live()
    with transaction.atomic():
        change_draft(document=named("New"), seen=None, at=NOON)
    assert states() == {1: "published", 2: "draft"}


def test_a_document_that_is_not_sound_leaves_the_draft_as_it_was(acme: Client) -> None:
    seen = begun("Sound").edited_at
    with pytest.raises(ProgramError) as refusal, transaction.atomic():
        change_draft(document=named("Broken", units=[{"code": "points"}]), seen=seen, at=LATER)
    assert "units[0].name" in {problem.path for problem in refusal.value.problems}
    assert (the_draft().name, the_draft().edited_at) == ("Sound", NOON)


def test_a_discarded_draft_is_gone_and_what_is_in_force_stays(acme: Client) -> None:
    live()
    seen = begun().edited_at
    with pytest.raises(DraftChanged), transaction.atomic():
        discard_draft(seen=LATER)
    with transaction.atomic():
        discard_draft(seen=seen)
    assert states() == {1: "published"}
    with pytest.raises(DraftChanged), transaction.atomic():
        discard_draft(seen=seen)


def test_a_published_draft_is_a_version_with_its_rules_and_rewards(acme: Client) -> None:
    live()
    with transaction.atomic():
        made = begin_draft(document=named("Better", rewards=[REWARD]), at=NOON)
    by = uuid7()
    out = publish_draft(seen=made.edited_at or NOON, in_force=1, at=LATER, by=by)
    assert (states(), draft()) == ({1: "archived", 2: "published"}, None)
    assert (out.version, out.published_at, out.published_by) == (2, LATER, by)
    assert EarningRule.objects.filter(program=out).count() == 1
    assert Reward.objects.get().name == "Mug"


@pytest.mark.parametrize(("seen", "in_force"), [(LATER, 1), (NOON, 2), (NOON, None)])
def test_a_draft_is_published_only_as_it_was_seen_and_over_what_was_seen(
    acme: Client, seen: datetime, in_force: int | None
) -> None:
    live()
    begun()
    with pytest.raises(DraftChanged):
        publish_draft(seen=seen, in_force=in_force, at=LATER)
    assert states() == {1: "published", 2: "draft"}


def test_a_draft_that_cannot_be_published_stays_a_draft(acme: Client) -> None:
    offer = {"code": "x", "name": "X", "segments": ["new"], "text": "Ten.", "points": 10, "unit": "points"}
    with transaction.atomic():
        made = begin_draft(document=named("Promises", offers=[offer]), at=NOON)
    with pytest.raises(ProgramError):
        publish_draft(seen=made.edited_at or NOON, in_force=None, at=LATER)
    assert (states(), the_draft().pk) == ({1: "draft"}, made.pk)


def test_another_version_passes_a_draft_which_stays_and_moves_behind_it(acme: Client) -> None:
    live()
    kept = begun("Mine")
    for version in (2, 3):
        assert publish(document=named("From the till's system"), at=LATER).version == version
    assert states() == {1: "archived", 2: "archived", 3: "published", 4: "draft"}
    assert (the_draft().pk, the_draft().name, the_draft().edited_at) == (kept.pk, "Mine", NOON)
    publish_draft(seen=NOON, in_force=3, at=LATER)
    assert (program_in_force().version, program_in_force().spec.name) == (4, "Mine")


def test_a_published_version_is_no_draft_again(acme: Client) -> None:
    live()
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        Program.objects.filter(version=1).update(document={})
    with pytest.raises(DraftChanged), transaction.atomic():
        discard_draft(seen=None)
    assert states() == {1: "published"}


# ── at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def both_at_once(client: Client, seen: datetime | None, *, careful: bool = True) -> list[str]:
    """Two people change the draft at the same moment; what became of each."""
    start = Barrier(2)

    def change(name: str) -> str:
        try:
            with use_client(client), transaction.atomic():
                document = named(name)
                if careful:
                    start.wait()
                    change_draft(document=document, seen=seen, at=LATER)
                else:
                    row = Program.objects.get(status="draft")
                    start.wait()
                    if row.edited_at == seen:
                        Program.objects.filter(pk=row.pk).update(name=name, document=document, edited_at=LATER)
            return "kept"
        except DraftChanged:
            return "told"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        return sorted(pool.map(change, ["Ana", "Ben"]))


@pytest.mark.parametrize("begins", [True, False])
def test_of_two_at_once_one_is_kept_and_the_other_is_told(acme: Client, begins: bool) -> None:
    live()
    seen = None if begins else begun().edited_at
    assert both_at_once(acme, seen) == ["kept", "told"]
    assert the_draft().name in {"Ana", "Ben"}


def test_control_without_the_lock_one_is_lost_and_nobody_told(acme: Client) -> None:
    live()
    assert both_at_once(acme, begun().edited_at, careful=False) == ["kept", "kept"]
