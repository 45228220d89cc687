"""docs/proof.md says what the record says: nothing that failed or was not reached counts as tried."""

from typing import Any

from tests.proof import page
from tests.proof.record import requirements_of

NAME = "tests/members/test_x.py::test_r07_r10_a_return"


def line(kind: str, *, test: str = NAME, **told: Any) -> dict[str, Any]:
    return {"kind": kind, "test": test, "requirements": requirements_of(test), **told}


def ended(outcome: str, *, test: str = NAME) -> dict[str, Any]:
    return line("ended", test=test, part="call", outcome=outcome, seconds=2.0)


def written(*lines: dict[str, Any]) -> str:
    return page.write(page.read(lines), commit="c", date="d", form="short")


def test_a_test_of_two_requirements_counts_for_both() -> None:
    assert requirements_of(NAME) == ["R07", "R10"]
    assert requirements_of("tests/x.py::test_plain") == []
    proofs = page.read([line("found"), line("tried", count=5, what="baskets", figures={"seed": "7"}), ended("passed")])
    assert [(name, proof.count) for name, proof in proofs.items() if proof.tests] == [("R07", 5), ("R10", 5)]


def test_cases_of_one_sentence_are_added_up_and_examples_named() -> None:
    told = [
        part
        for case in ("a", "b")
        for part in (
            line("held", test=f"t.py::test_r11_days[{case}]", what="days", count=1, examples=False),
            ended("passed", test=f"t.py::test_r11_days[{case}]"),
        )
    ]
    many = line("held", test="t.py::test_r11_more", what="more", count=300, examples=True)
    text = written(*told, many, ended("passed", test="t.py::test_r11_more"))

    assert "- Held: days (2 cases)\n- Held: more (300 random examples)\n- 3 of 3 tests passed" in text
    assert "| 3 | 302 | 0 | 6 | passed |" in text


def test_what_failed_or_was_not_reached_is_said_and_not_counted() -> None:
    failed = "t.py::test_r05_one"
    text = written(
        line("tried", test=failed, count=9, what="requests", figures={}),
        ended("failed", test=failed),
        line("found", test="t.py::test_r06_other"),
    )

    assert "| R05 | One effect and one answer for each Idempotency-Key | 1 | 0 | 0 | 2 | FAILED |" in text
    assert f"- FAILED: `{failed}`" in text
    assert "| R06 | A receipt counts once over all channels | 1 | 0 | 0 | 0 | not reached |" in text


def test_caught_variants_stand_by_name_and_limits_where_there_are_some() -> None:
    control = "t.py::test_r42_negative_control_x"
    text = written(line("caught", test=control, broken="half an answer"), ended("passed", test=control))

    assert "- Caught: half an answer\n- Not proved: There is one PostgreSQL" in text
