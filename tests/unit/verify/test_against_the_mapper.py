"""The mapper and the verification agree about which contributions must exist. They share no code for this.

They agree whatever a source does, and however often the mapper dies or is rewound.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.cdc.debezium import UNAVAILABLE
from sluice.pipeline import SourceStream
from sluice.provenance import RawRef
from sluice.verify.claims import MapperFacts, judge, missing
from sluice.verify.expected import StreamHistory
from support.mapping_bench import STREAM, TOPIC, MapperBench
from support.people import erp_staff

MAPPING = dataclasses.replace(erp_staff, stream=STREAM)
NOTES = ("a first long text", "a second long text", UNAVAILABLE)
LIVE = dict.fromkeys(("upsert", "delete", "sweep", "dead", "unreadable", "untimed", "reserved", "sweep of another"))


@dataclasses.dataclass(frozen=True)
class Event:
    """One record of the log. `late`: how far its position is below the next one."""

    kind: str
    key: int
    notes: str
    number: int
    late: int


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(["upsert"] * 5 + list(LIVE)),
        st.integers(1, 3),
        st.sampled_from(NOTES),
        st.integers(1, 4),
        st.sampled_from([0, 0, 0, 0, 3]),
    ),
    max_size=25,
)


def append(bench: MapperBench, event: Event, due: int) -> None:
    position = f"1:{max(1, due - event.late)}:0"
    row: dict[str, Any] = {
        "id": event.key,
        "number": f"P{event.number}",
        "notes": event.notes,
        "pay": "no number" if event.kind == "dead" else "1",
        "since": "2026-03-01T12:00:00Z",
    }
    if event.kind == "sweep":
        bench.sweep(position)
    elif event.kind == "sweep of another":
        bench.append(b'{"$sweep":"payroll"}', b"", position, {"sluice-op": b"s"})
    elif event.kind == "reserved":
        bench.change(event.key, position, row)
        bench.log[-1] = bench.log[-1]._replace(key=b'{"$partition":0}')
    elif event.kind == "untimed":
        envelope = {"op": "u", "source": {"ts_us": "noon"}, "after": row}
        bench.append(b'{"id":%d}' % event.key, orjson.dumps(envelope), position)
    elif event.kind == "unreadable":
        bench.append(b'{"id":%d}' % event.key, b"no json", position)
    else:
        bench.change(event.key, position, None if event.kind == "delete" else row)


def recomputed(bench: MapperBench) -> StreamHistory:
    history = StreamHistory(SourceStream("erp", STREAM, "cdc"), [MAPPING], fills=True)
    for record in bench.log:
        history.add(record)
    return history


@settings(deadline=None)
@given(EVENTS, st.lists(st.integers(0, 24), max_size=3))
def test_verification_and_mapper_agree_on_which_claims_must_exist(events: list[Event], rewinds: list[int]) -> None:
    bench = MapperBench(MAPPING)
    for due, event in enumerate(events, 10):
        append(bench, event, due)
    bench.run()
    for offset in rewinds:
        bench.rewind(min(offset, len(bench.log)))
        bench.run()
    history = recomputed(bench)
    expected = dict(history.claims())
    parked = {(TOPIC, key, mapping): one.position for key, mapping, one in history.parked()}
    versions = {("erp", STREAM, MAPPING.name): MAPPING.version}
    facts = MapperFacts(versions, parked, set[RawRef](), {(TOPIC, 0): len(bench.log)})
    for key, claim in dict(bench.contributions).items():
        verdict = judge(claim, expected.pop(key, None), facts)
        assert verdict.kind in ("ok", "parked"), verdict
    assert [missing(one, facts, None) for one in expected.values()] == []
