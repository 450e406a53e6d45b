"""One factor says how slow the machine is; every deadline is longer by it."""

import os
import time
from collections.abc import Callable

import pytest

from support import pace
from support.waiting import eventually


@pytest.mark.parametrize(
    ("rounds_per_s", "syncs_per_s", "slowness"),
    [
        (7_000, 1_500, 1.0),  # a quiet machine is never faster than 1
        (2_500, 1_500, 2.0),
        (7_000, 100, 4.0),
        (2_500, 100, 4.0),  # the worse of both counts
        (50, 1_500, 8.0),
        (0, 0, 8.0),
    ],
)
def test_the_factor_is_that_of_the_slower_part_and_bounded(
    rounds_per_s: float, syncs_per_s: float, slowness: float
) -> None:
    assert pace.factor(rounds_per_s, syncs_per_s) == slowness


def test_a_measurement_is_a_factor_within_its_bounds() -> None:
    assert 1.0 <= pace.measured(for_s=0.2) <= pace.SLOWNESS_MAX


@pytest.mark.parametrize(("said", "slowness"), [("", 1.0), ("0.2", 1.0), ("3.5", 3.5), ("99", 8.0)])
def test_the_variable_is_taken_within_the_bounds(monkeypatch: pytest.MonkeyPatch, said: str, slowness: float) -> None:
    monkeypatch.setenv(pace.VARIABLE, said)
    assert pace.slowness() == slowness
    assert pace.within(10) == 10 * slowness


def test_a_run_measures_prints_and_stretches_the_limits_of_its_tests(output_of: Callable[..., str]) -> None:
    text = """
import os
def test_given(request):
    print("limit", request.node.get_closest_marker("timeout").args[0], os.environ["SLUICE_TEST_SLOWNESS"])
"""
    arguments = ("-p", "support.pace", "-o", "timeout=100")
    said = output_of(text, *arguments)
    assert "slowness of this machine: 1.0" in said
    assert "limit 1300.0 1" in said


@pytest.fixture
def slowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is three times slower when it is measured again."""
    monkeypatch.setenv(pace.VARIABLE, "1")
    monkeypatch.setattr(pace, "measured", lambda: 3.0)


@pytest.mark.usefixtures("slowing")
def test_a_wait_calls_at_the_machine_again_before_it_gives_up() -> None:
    began = time.monotonic()
    assert eventually(lambda: time.monotonic() - began > 0.25, deadline_s=0.1)
    assert os.environ[pace.VARIABLE] == "3.00"
    with pytest.raises(AssertionError, match="never"):
        eventually(lambda: False, "never", deadline_s=0.1)


def test_a_wait_goes_on_while_there_is_progress_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pace.VARIABLE, "1")
    monkeypatch.setattr(pace, "measured", lambda: 1.0)
    calls: list[int] = []

    def progress() -> int:
        calls.append(1)
        return len(calls)

    began = time.monotonic()
    assert eventually(lambda: time.monotonic() - began > 0.3, deadline_s=0.1, progress=progress)
    with pytest.raises(AssertionError, match="never"):
        eventually(lambda: False, "never", deadline_s=0.05, progress=progress)
