"""What a session knows to be durable."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sluice.cdc.watermarks import FOLLOWED, PENDING, Heap, Mark, SlotWatermark, TableReading, TableWatermark
from sluice_ingress_cdc.assembler import SlotBatch
from sluice_ingress_cdc.session import _raise_epoch, _Session

READING = TableWatermark(PENDING, since_lsn=50, reading=TableReading((Heap(1, 5, 9),), 0, 3))
START = SlotWatermark("1", 1, "s", epoch=1, lsn=100, ordinal=0)


def test_a_table_whose_last_rows_are_not_durable_is_read_again_after_a_promotion() -> None:
    """Else the next session would read its rest in the new epoch, and the sweep would retract the rows before."""
    published: list[dict[str, Any]] = []
    publisher = SimpleNamespace(
        publish=lambda records, watermark, tables: published.append(dict(tables)),
        requests=lambda tables: SimpleNamespace(epoch=0),
    )
    slot = SimpleNamespace(source="erp", publication="p", tables=["public.a"])
    context: Any = SimpleNamespace(publisher=publisher, slot=slot)
    # In memory, the batch that is being collected has read the table to its end.
    tables: Any = {"public.a": TableWatermark(FOLLOWED, since_lsn=50)}
    stored = {"public.a": TableWatermark(), "public.old": TableWatermark()}
    session = _Session(context, None, tables, stored, {}, "db")  # type: ignore[arg-type]
    session._publish(  # noqa: SLF001 - the stream calls it
        START, SlotBatch([], Mark(120, 0), 120), {"public.a": READING, "public.old": None}
    )
    assert session.durable_tables == {"public.a": READING}

    _raise_epoch(context, START, session.durable_tables)
    assert published[-1] == {"public.a": TableWatermark()}
