"""R03: processes move points between members, and whoever reads finds that nothing was lost or made."""

import pytest

from tenants.models import Client
from tests.proof.bank import Bank
from tests.proof.record import Record, often

SEED = 20260617
PROCESSES = 8


def test_r03_eight_processes_move_points_and_every_read_finds_them_all(acme: Client, proof_record: Record) -> None:
    seconds = often(8, 600)
    bank = Bank(acme, seed=SEED)

    tally = bank.open(processes=PROCESSES, seconds=seconds).close()

    assert not tally.wrong, tally.wrong[:5]
    assert min(tally.done[deed] for deed in ("read", "transfer", "ring", "rings at once", "redeem", "refund")) > 0
    proof_record.tried(
        tally.done.total(), "deeds of 8 processes at once", seed=SEED, seconds=seconds, refused=tally.refused,
        reads=tally.done["read"], wrong_reads=0, unhandled_deadlocks=0,
    )  # fmt: skip


@pytest.mark.parametrize("broken", ["no lock", "torn reads"])
def test_r03_negative_control_a_bank_without_locks_or_with_torn_reads_is_caught(
    acme: Client, broken: str, proof_record: Record
) -> None:
    bank = Bank(acme, seed=SEED)

    tally = bank.open(processes=PROCESSES, seconds=2, broken=broken).close()

    assert tally.wrong
    proof_record.caught(f"a bank with {broken}" if broken == "torn reads" else "members' accounts moved without a lock")
