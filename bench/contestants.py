"""The contestants of a benchmark: Sluice in one to three forms, and the chosen peers."""

from __future__ import annotations

from collections.abc import Sequence

from bench import peers
from bench.contestant import Contestant
from bench.options import Options
from bench.profile import ProfiledStages
from bench.rounds import BEFORE, CONTROL, OURS
from bench.sluice_stage import SluiceStages

BEFORE_SHARE = 0.25
"""An older commit gets fewer records, because it may be much slower."""


def chosen_contestants(options: Options, stages: Sequence[str], sources: str = "erp") -> list[Contestant]:
    """This checkout, once more as control, the commit of `--against`, and the peers. With `--profile`, this checkout
    alone.

    `stages`: what Sluice runs. `sources`: the sources of its pipeline, with commas between them.
    """
    if options.profile:
        return [ProfiledStages(OURS, stages, sources=sources)]
    names = (OURS, CONTROL) if options.control else (OURS,)
    own: list[Contestant] = [SluiceStages(name, stages, sources=sources) for name in names]
    if options.against:
        own.append(SluiceStages(BEFORE, stages, options.against, share=BEFORE_SHARE, sources=sources))
    return [*own, *peers.chosen(options.what, options.peers)]
