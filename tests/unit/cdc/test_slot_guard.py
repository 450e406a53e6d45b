"""The guard of a slot goes on after an unforeseen error, and shows it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluice.telemetry.health import Health
from sluice_ingress_cdc import slot_guard
from sluice_ingress_cdc.slot_guard import SlotGuard
from support.waiting import eventually


def test_an_unforeseen_error_does_not_end_the_guard_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    slot: Any = SimpleNamespace(source="erp", slot="s", where="source erp", dsn=SimpleNamespace(reveal=lambda: ""))
    limits = {"wal_warn_bytes": 1, "wal_limit_bytes": 2, "wal_limit_action": "go_on", "stuck_after_s": 60.0}
    settings: Any = SimpleNamespace(watch_interval_s=0.01, **limits)
    attempts: list[None] = []

    def fail(*_: Any, **__: Any) -> None:
        attempts.append(None)
        raise KeyError("a bug")

    monkeypatch.setattr(slot_guard, "connect", fail)
    health = Health()
    guard = SlotGuard(slot, settings, health)
    guard.start()
    try:
        eventually(lambda: len(attempts) >= 2, "the guard tries again")
        fault = health.faults["source erp, progress of slot s"]
    finally:
        guard.close()
    assert "it is not watched: KeyError" in fault
