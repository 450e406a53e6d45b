"""What the poller's main thread cannot do is an active fault until the same succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import pytest

from sluice.errors import EnvironmentFault, Transient
from sluice.ingress.backpressure import LagBounds
from sluice.pipeline import load_pipeline
from sluice.stage.signals import Stop
from sluice.telemetry import Health
from sluice_ingress_poller.lag import BACK_PRESSURE, BackPressure, DownstreamLag
from sluice_ingress_poller.poller import MEMBERSHIP, Poller
from sluice_ingress_poller.settings import PollerSettings
from support.people import PIPELINE

LOST = Transient("group ingress-poller, sluice.shards/0: _TRANSPORT")


class Scripted(Poller):
    """Its group is lost in four turns, and joined again each time. `reported`: whether the fault was active."""

    def script(self, stop: Stop, health: Health) -> None:
        self.reported: list[bool] = []
        self._stop, self._health_shown = stop, health

    def _open(self) -> None:
        self._health_shown.started()

    def _turn(self) -> None:
        self.reported.append(MEMBERSHIP in self._health_shown.faults)
        if len(self.reported) == 8:
            self._stop.request()
        if len(self.reported) <= 4:
            raise LOST


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Stop.wait
    monkeypatch.setattr(Stop, "wait", lambda stop, timeout_s: wait(stop, 0.01))


def test_a_group_that_is_lost_again_and_again_is_a_fault_although_it_is_joined_again(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(prefix="test.", dsn_file=tmp_path / "dsn"))
    (tmp_path / "entities.py").write_text("from support.people import Person as Person\n")
    health, stop = Health(), Stop()
    poller = Scripted(PollerSettings(state_dir=tmp_path), load_pipeline(tmp_path), [], health)
    poller.script(stop, health)
    with poller:
        assert poller.run(stop) == 0
    assert [stood for stood, _ in groupby(poller.reported)] == [False, True, False]


class Unmeasured:
    """Lag of groups that cannot be asked for, for a while."""

    def __init__(self, answers: list[int | Exception]) -> None:
        self._answers: Iterator[int | Exception] = iter(answers)

    def measure(self) -> int:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_polling_that_stays_paused_because_lag_is_not_known_says_so() -> None:
    refused = EnvironmentFault("group mapper", "no right to it", "grant it")
    health = Health()
    lag = cast(DownstreamLag, cast(Any, Unmeasured([10**9, refused, 0])))
    pressure = BackPressure(lag, LagBounds(), 1.0, health)
    pressure.measure_or_report()
    pressure.measure_or_report()
    assert "polling stays paused" in health.faults[BACK_PRESSURE]
    pressure.measure_or_report()
    assert BACK_PRESSURE not in health.faults
