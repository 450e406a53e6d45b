"""Many cases at once: a case that is late fails alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from support.waiting import NotInTime, eventually


@dataclass(kw_only=True)
class Trial:
    """`problem`: what is wrong with its outcome; `faults`: those that name what it is about."""

    problem: str = ""
    faults: list[str] = field(default_factory=list)


def settle(trials: Mapping[str, Trial], settled: Callable[[], set[str]], within_s: float, problem: str) -> None:
    """Wait until one call of `settled` names all `trials` without a problem; set the problem of those that it never
    names."""
    waiting = {name for name, trial in trials.items() if not trial.problem}
    done: set[str] = set()

    def all_done() -> bool:
        done.clear()
        done.update(settled())
        return waiting <= done

    with suppress(NotInTime):  # a late trial is reported by its own test
        eventually(all_done, problem, within_s)
    for name in waiting - done:
        trials[name].problem = f"{problem} within {within_s:.0f} s; the faults were: {trials[name].faults}"
