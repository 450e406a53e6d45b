"""A run that ends by itself says which it was: verified, nothing shown yet, something wrong, not all called at."""

from __future__ import annotations

import threading

import pytest

from sluice.errors import EnvironmentFault, ExitCode
from sluice.local.ending import Ending, ending, sentence
from sluice.local.stopping import repeated


@pytest.mark.parametrize(
    ("verified", "findings", "shown", "how", "code"),
    [
        (True, 0, True, Ending.VERIFIED, 0),
        (True, 0, False, Ending.NOTHING_SHOWN, 4),
        (False, 3, True, Ending.FINDINGS, 1),
        (False, 3, False, Ending.FINDINGS, 1),
        (False, 0, True, Ending.NOT_VERIFIED, 1),
        (False, 0, False, Ending.NOT_VERIFIED, 1),
        (None, 0, False, Ending.STOPPED, 0),
        (None, 0, True, Ending.STOPPED, 0),
    ],
)
def test_the_exit_code_distinguishes_wrong_from_not_arrived_yet(
    verified: bool | None, findings: int, shown: bool, how: Ending, code: int
) -> None:
    assert ending(verified, findings, shown=shown) is how
    assert how.exit_code is ExitCode(code)


def test_nothing_shown_yet_says_how_long_it_took_and_where_to_look() -> None:
    line = sentence(Ending.NOTHING_SHOWN, 312.4, "/state/log")
    assert line.startswith("nothing is lost, but within 312 s no golden record could be shown. Next: ")
    assert "/state/log" in line


@pytest.mark.parametrize("how", [one for one in Ending if one is not Ending.STOPPED])
def test_every_other_ending_is_said_in_a_sentence(how: Ending) -> None:
    assert sentence(how, 1.0, "log")


def test_the_stages_are_read_while_the_check_runs() -> None:
    called = threading.Event()
    with repeated(called.set, 0.1):
        assert called.wait(60)


def test_a_stage_that_dies_again_and_again_ends_the_check() -> None:
    raised = threading.Event()

    def turn() -> None:
        raised.set()
        raise EnvironmentFault("stage mapper", "died 51 times", "read its log")

    with pytest.raises(EnvironmentFault, match="died 51 times"), repeated(turn, 0.1):
        assert raised.wait(60)
