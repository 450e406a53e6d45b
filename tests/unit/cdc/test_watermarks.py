"""Watermarks as JSON records."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from sluice.cdc.table_facts import BoundColumn, BoundLeaf, TableBinding
from sluice.cdc.watermarks import BLOCKED, FOLLOWED, Proof, SlotWatermark, TableWatermark, source_watermarks

STORED = SlotWatermark("77", 1, "sluice_erp", 4, 0x5000, 0, proof=Proof(0x4FF0, 7, 70), options="o")


def test_watermarks_survive_their_json() -> None:
    columns = BoundColumn(1, "id", 23, -1, 900), BoundColumn(2, "kind", 70_000, -1, 900, ("label 70001 890",))
    leaves = {8: BoundLeaf(8), 9: BoundLeaf(10, 880)}
    bound = TableBinding("topic", 7, ("id",), columns, 7, leaves, ("table 12",), (11, 900), 901)
    marks = {
        "public.a": TableWatermark(FOLLOWED, 17, 2, bound=bound, truncations=(902, 903)),
        "public.b": TableWatermark(BLOCKED, why="why", next_step="next", fault_at=3),
    }
    stored = {f"erp/{name}": orjson.loads(orjson.dumps(mark.to_json())) for name, mark in marks.items()}
    assert stored["erp/public.b"]["state"] == "held"
    others = {"crm/*": {"v": 9}, "erp2/*": {"v": 9}}
    assert source_watermarks("erp", {"erp/*": STORED.to_json(), **stored, **others}) == (STORED, marks)
    assert source_watermarks("erp", others) == (None, {})
    with pytest.raises(ValueError, match="version 3"):
        SlotWatermark.from_json({**STORED.to_json(), "v": 3})
    with pytest.raises(ValueError, match="version 3"):
        TableWatermark.from_json({**marks["public.a"].to_json(), "v": 3})
    without = {k: v for k, v in stored["erp/public.a"].items() if k != "truncations"}
    assert TableWatermark.from_json(without) == replace(marks["public.a"], truncations=())


def test_of_a_watermark_of_version_one_only_the_slot_is_read() -> None:
    first = {**STORED.to_json(), "v": 1, "config": "cfg", "snapshot": {"public.employee": "done"}}
    assert source_watermarks("erp", {"erp/*": first}) == (STORED, {})
