"""Behaviours of source APIs, and mistakes of authors in their declarations. Each time, within half a minute, the golden
records equal the source, or a fault names the stream and the next step; after that step they are equal. All cases run
at once, on streams of one source: a case affects no other stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluice.embedded import Servers
from support.one_entity import OneEntity, one_entity, spelled
from support.scripted_source import Answer, Asked, ScriptedSource, scripted_source
from support.stream_deeds import DEEDS, Listing, StreamDeed, connector, people, stream_of
from support.trials import Trial, settle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
POLLER = "ingress-poller"
FAULT_WITHIN_S = 30.0
EQUAL_AGAIN_WITHIN_S = 60.0


@dataclass
class StreamTrial(Trial):
    """One case."""

    stream: str
    deed: StreamDeed
    listing: Listing

    @property
    def fault(self) -> str:
        """The expected fault, if it is active."""
        return next((why for why in self.faults if self.deed.says and self.deed.says in why), "")


@pytest.fixture(scope="module")
def trials() -> list[StreamTrial]:
    return [
        StreamTrial(stream_of(number), deed, Listing(people(deed.rows), **deed.listing))
        for number, deed in enumerate(DEEDS)
    ]


@pytest.fixture(scope="module")
def source(trials: list[StreamTrial]) -> Iterator[ScriptedSource]:
    listings = {f"/{trial.stream}": trial.listing for trial in trials}

    def answer(asked: Asked) -> Answer:
        return listings[asked.path](asked)

    with scripted_source(answer) as running:
        yield running


@pytest.fixture(scope="module")
def pipeline(
    servers: Servers, source: ScriptedSource, trials: list[StreamTrial], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneEntity]:
    streams = {trial.stream: "freshness: 1s, enumerate_every: 3s" for trial in trials}
    directory: Path = tmp_path_factory.mktemp("streams")
    with one_entity(
        servers, directory, streams=streams, connector=declared(trials), url=source.url, partitions=1
    ) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def done(pipeline: OneEntity, trials: list[StreamTrial]) -> None:
    """All cases, run to their end."""
    by_stream: dict[str, StreamTrial] = {trial.stream: trial for trial in trials}
    settle(
        by_stream,
        lambda: {t.stream for t in equal(pipeline, trials)} | {t.stream for t in trials if t.deed.corrected},
        60.0,
        "not equal at first",
    )
    for trial in trials:
        trial.deed.act(trial.listing)
    settle(by_stream, lambda: answered(pipeline, trials), FAULT_WITHIN_S, "neither equal nor a fault")
    for trial in trials:
        if trial.deed.commanded and trial.fault:
            pipeline.follow_advice(trial.fault)
        trial.deed.heal(trial.listing)
    pipeline.run.stop(POLLER)
    (pipeline.run.pipeline.root / "sources" / "crm" / "connector.py").write_text(declared(trials, corrected=True))
    pipeline.run.start(POLLER)
    settle(
        by_stream,
        lambda: {t.stream for t in equal(pipeline, trials) if not t.faults},
        EQUAL_AGAIN_WITHIN_S,
        "not equal in the end",
    )


def declared(trials: list[StreamTrial], *, corrected: bool = False) -> str:
    """The connector's text, as declared at first or as corrected."""
    return connector({t.stream: (corrected and t.deed.corrected) or t.deed.declared for t in trials})


def answered(pipeline: OneEntity, trials: list[StreamTrial]) -> set[str]:
    """The streams with the expected outcome: equal, or the expected fault."""
    same = {t.stream for t in equal(pipeline, trials)}
    return {t.stream for t in trials if (t.fault if t.deed.says else t.stream in same and not t.faults)}


def equal(pipeline: OneEntity, trials: list[StreamTrial]) -> list[StreamTrial]:
    """The streams whose golden records equal the source. Stores the active faults in each trial."""
    faults, golden = pipeline.faults(POLLER), pipeline.golden()
    for trial in trials:
        trial.faults = [why for about, why in faults.items() if f"crm/{trial.stream} " in f"{about} "]
    return [t for t in trials if golden.get(t.stream, {}) == spelled(t.listing.rows)]


@pytest.mark.parametrize("number", range(len(DEEDS)), ids=[deed.what for deed in DEEDS])
def test_the_golden_records_equal_the_source_or_a_fault_says_what_to_do(trials: list[StreamTrial], number: int) -> None:
    assert not trials[number].problem
