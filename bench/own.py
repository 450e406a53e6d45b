"""The contestants that are Sluice itself: this checkout, once more as control, and the commit of `--against`."""

from __future__ import annotations

from collections.abc import Sequence

from bench.contestant import Contestant
from bench.options import Options
from bench.profile import ProfiledStages
from bench.rounds import BEFORE, CONTROL, OURS
from bench.sluice_stage import SluiceStages

BEFORE_SHARE = 0.25
"""An older commit gets fewer records, because it may be much slower."""


def own_contestants(options: Options, stages: Sequence[str], sources: str = "erp") -> list[Contestant]:
    """Sluice's contestants in a benchmark of `stages`. With `--profile`, there is one."""
    if options.profile:
        return [ProfiledStages(OURS, stages, sources=sources)]
    names = (OURS, CONTROL) if options.control else (OURS,)
    chosen: list[Contestant] = [SluiceStages(name, stages, sources=sources) for name in names]
    if options.against:
        chosen.append(SluiceStages(BEFORE, stages, options.against, share=BEFORE_SHARE, sources=sources))
    return chosen
