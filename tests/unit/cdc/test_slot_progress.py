"""The guard of a slot: what it warns of, when it drops a slot, and what it calls stuck."""

from __future__ import annotations

import pytest

from sluice.cdc.slots import SlotState
from sluice_ingress_cdc.slot_progress import SlotProgress, SlotReading, WalLimitAction, WalLimits, wal_fault

SLOT = SlotState(confirmed_flush_lsn=1000, restart_lsn=900, active_pid=7, lost=False)
MIB = 2**20


def reading(retained: int, **slot: object) -> SlotReading:
    return SlotReading(0.0, 900 + retained, SLOT._replace(**slot))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "action", "says"),
    [
        (reading(1 * MIB), "release", ""),
        (reading(3 * MIB), "release", "more log for it than SLUICE_WAL_WARN_BYTES (2.0 MiB)"),
        (reading(5 * MIB), "go_on", "following goes on"),
        (reading(5 * MIB), "release", "the slot is dropped"),
        (reading(1 * MIB, at_risk=True, safe_wal_bytes=MIB), "release", "max_slot_wal_keep_size"),
    ],
)
def test_a_slot_that_keeps_too_much_log_has_a_fault(now: SlotReading, action: WalLimitAction, says: str) -> None:
    fault = wal_fault("s", now, WalLimits(2 * MIB, 4 * MIB, action))
    assert says in fault
    assert bool(says) == bool(fault)
    assert ("dropped" in fault) == WalLimits(2 * MIB, 4 * MIB, action).releases(now)


def test_without_limits_nothing_is_warned_of_or_dropped() -> None:
    none = WalLimits(0, 0, "release")
    assert wal_fault("s", reading(2**50), none) == ""
    assert not none.releases(reading(2**50))


def test_a_slot_is_behind_since_the_oldest_log_that_it_has_not_confirmed() -> None:
    progress = SlotProgress(stuck_after_s=60)
    for at, end, confirmed in ((0, 1000, 1000), (5, 2000, 1000), (10, 3000, 1000), (15, 4000, 2500)):
        progress.add(SlotReading(at, end, SLOT._replace(confirmed_flush_lsn=confirmed)))
    assert progress.behind_s == 5  # the log of 10 s is not confirmed yet
    progress.add(SlotReading(20, 4000, SLOT._replace(confirmed_flush_lsn=4000)))
    assert progress.behind_s == 0


def test_no_progress_while_the_log_grows_is_a_fault_and_an_idle_source_is_none() -> None:
    progress = SlotProgress(stuck_after_s=60)
    idle = [progress.add(SlotReading(at, 1000, SLOT)) for at in range(0, 200, 5)]
    growing = [progress.add(SlotReading(200 + at, 2000 + at, SLOT)) for at in range(0, 65, 5)]
    assert not any(idle + growing[:12])
    assert "nothing was confirmed for 60 s, while the log grew: it is confirmed up to 0/3E8" in growing[12]
    assert "server process 7 reads the slot" in growing[12]
    assert progress.add(SlotReading(270, 3000, SLOT._replace(confirmed_flush_lsn=1500))) == ""


def test_a_slot_that_is_behind_and_advances_is_not_stuck() -> None:
    progress = SlotProgress(stuck_after_s=60)
    for at in range(0, 10_000, 5):
        assert not progress.add(SlotReading(at, 1000 + at, SLOT._replace(confirmed_flush_lsn=1000 + at // 2)))
    assert progress.behind_s > 4000
