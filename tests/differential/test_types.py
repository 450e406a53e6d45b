"""Values of every built-in type, in a snapshot and in the stream, as a Debezium connector publishes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.differential import Profile, Published, Workload
from support.differential_types import FAMILIES, type_workload
from support.event_comparison import differences

Run = Callable[[Profile, list[Workload]], Published]


@pytest.fixture(scope="module")
def types(published: Run) -> Published:
    return published(Profile("types"), [type_workload(family) for family in FAMILIES])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_of_every_type_has_debeziums_key_and_operation(types: Published, family: str) -> None:
    table = f"public.t_{family}"
    found = differences(table, *types.of(table))
    others = [place for place in found if place.path.startswith(("record", "key", "value.op"))]
    assert not others, "\n".join(map(str, others))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.xfail(reason="the pipeline file cannot ask for the form of Debezium's events yet")
def test_a_value_of_every_type_is_as_debezium_writes_it(types: Published, family: str) -> None:
    table = f"public.t_{family}"
    found = differences(table, *types.of(table))
    assert not found, "\n".join(map(str, found))
