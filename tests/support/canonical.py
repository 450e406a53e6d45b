"""Canonical records of the sample worker, and a strategy that generates many."""

from typing import Any

from hypothesis import strategies as st

from sluice.provenance import CanonicalRecord, Contributor, Winner
from support.workers import Worker

CONTRACT = Worker.contract()
CONTRIBUTOR = Contributor(
    "workday", "workers", '{"id":"W-7"}', "worker", 3, "raw.workday.workers", 2, 123_456, 1704067200000000, None
)
FIELDS: dict[str, Any] = {
    "employee_number": "W-7",
    "full_name": "Zoë",
    "base_pay": {"amount": "-12.3000", "currency": "EUR"},
    "height": "1.700",
    "status": "active",
    "birthday": "1969-12-31",
    "hired_at": 1704067200000001,
    "rating": 1.5,
    "badge": "AAE=",
    "level": -5,
    "remote": True,
}


def record(revision: int = 1, **fields: Any) -> CanonicalRecord:
    """Worker W-7, with some fields changed."""
    winners = [Winner(name, 0, "source_order") for name in FIELDS]
    return CanonicalRecord({**FIELDS, **fields}, revision, 1704067200000001, [CONTRIBUTOR], winners)


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_LONG = st.integers(-(2**63), 2**63 - 1)
_INT = st.integers(0, 2**31 - 1)


def _decimal(digits: int, scale: int) -> st.SearchStrategy[str]:
    numbers = st.decimals(-(10 ** (digits - scale)) + 1, 10 ** (digits - scale) - 1, places=scale)
    return numbers.map(lambda number: format(number if number else abs(number), "f"))


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "employee_number": _TEXT,
    "full_name": _TEXT,
    "base_pay": st.fixed_dictionaries({"amount": _decimal(38, 4), "currency": st.sampled_from(["EUR", "USD"])}),
    "height": _decimal(10, 3),
    "status": _TEXT,
    "birthday": st.dates().map(lambda day: day.isoformat()),
    "hired_at": _LONG,
    "rating": st.floats(allow_nan=False),
    "badge": st.binary().map(lambda value: CONTRACT.encoders["badge"](value)),
    "level": _LONG,
    "remote": st.booleans(),
}


@st.composite
def records(draw: st.DrawFn) -> CanonicalRecord:
    """Any record that the contract allows."""
    contributor = st.builds(Contributor, _TEXT, _TEXT, _TEXT, _TEXT, _INT, _TEXT, _INT, _LONG, _LONG, st.none() | _LONG)
    contributors = draw(st.lists(contributor, max_size=3))
    fields = {
        name: draw(st.none() | values if CONTRACT.fields[name].nullable else values) for name, values in _VALUES.items()
    }
    places = st.integers(0, max(0, len(contributors) - 1))
    winners = draw(st.lists(st.builds(Winner, st.sampled_from(list(_VALUES)), places, _TEXT), max_size=4))
    return CanonicalRecord(fields, draw(_LONG), draw(_LONG), contributors, winners)
