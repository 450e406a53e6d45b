"""Contributions about one worker, in short form; and strategies that generate many."""

from typing import Any

from hypothesis import strategies as st

from sluice.position import Position
from sluice.provenance import Contribution, RawRef

SOURCES = ("workday", "erp", "badge")
ORDER = ("workday", "erp")
FIRST = Position(1, 1, 1)


def contribution(
    source: str = "workday",
    source_key: str = '{"id":"W"}',
    fields: dict[str, Any] | None = None,
    *,
    effective_at: int | None = 1,
    retracted: bool = False,
    position: Position = FIRST,
) -> Contribution:
    """A contribution about worker W, complete unless `fields` says otherwise."""
    claimed = {"employee_number": "W", "full_name": "Zoë"} if fields is None else fields
    raw = RawRef(f"raw.{source}.workers", 0, position.minor)
    return Contribution(
        entity_id="W",
        source=source,
        stream="workers",
        source_key=source_key,
        mapping="worker",
        mapping_version=1,
        output="main",
        position=position,
        raw=raw,
        observed_at=5,
        effective_at=effective_at,
        contract=2,
        fields={} if retracted else claimed,
        retracted=retracted,
    ).sealed()


_FIELDS = st.fixed_dictionaries(
    {"employee_number": st.just("W")},
    optional={
        "full_name": st.sampled_from(["Zoë", "Zoe"]),
        "base_pay": st.sampled_from([None, {"amount": "1.0000", "currency": "EUR"}]),
        "status": st.sampled_from([None, "active", "left"]),
        "rating": st.sampled_from([None, 1.5, 2.0]),
    },
)


@st.composite
def contributions(draw: st.DrawFn) -> list[Contribution]:
    """Up to eight contributions, no two with one key; positions without meaning for the result."""
    keys = draw(st.lists(st.tuples(st.sampled_from(SOURCES), st.sampled_from("abc")), unique=True, max_size=8))
    return [
        contribution(
            source,
            key,
            draw(_FIELDS),
            effective_at=draw(st.none() | st.integers(0, 3)),
            retracted=draw(st.integers(0, 4)) == 0,
            position=Position(1, draw(st.integers(0, 9)), draw(st.integers(0, 9))),
        )
        for source, key in keys
    ]
