"""Whether golden rows equal their newest canonical records. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import orjson

from sluice.entities import EntityContract
from sluice.golden.rows import StoredRow
from sluice.schemas.decoder import DecodedCanonical


def golden_says(contract: EntityContract, decoded: DecodedCanonical) -> bytes:
    """A digest of 16 bytes, to compare a canonical record with its row."""
    sluice = decoded.sluice
    fields = {name: decoded.fields.get(name) for name in contract.fields}
    return _digest(fields, sluice["revision"], sluice["updated_at"], sluice["contributors"], sluice["winners"])


def row_says(row: StoredRow) -> bytes:
    """The same digest of a stored row."""
    provenance = row.provenance
    return _digest(row.fields, row.revision, row.updated_at, provenance.get("contributors"), provenance.get("winners"))


def _digest(*parts: Any) -> bytes:
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def row_findings(
    row: StoredRow, offset: int, epoch: int | None, decoded: DecodedCanonical
) -> Iterator[tuple[Literal["I4", "canonical-table"], str]]:
    """What is wrong with a row whose newest canonical record is at `offset` under the topic's `epoch`."""
    if (row.epoch, row.offset) != (epoch, offset):
        yield "I4", f"is of epoch {row.epoch}, offset {row.offset}; the newest is of epoch {epoch}, offset {offset}"
        return
    other = sorted(name for name, value in row.fields.items() if value != decoded.fields.get(name))
    if other:
        yield "canonical-table", f"has another {', '.join(other)} than its canonical record"
    sluice = decoded.sluice
    if (row.revision, row.updated_at) != (sluice["revision"], sluice["updated_at"]):
        yield "canonical-table", "has another revision or time than its canonical record"
    if row.provenance != {"contributors": sluice["contributors"], "winners": sluice["winners"]}:
        yield "canonical-table", "has another provenance than its canonical record"


def deleted_findings(
    row: StoredRow | None, tombstone: tuple[int, int] | None, offset: int, epoch: int | None
) -> Iterator[tuple[Literal["I4", "canonical-table"], str]]:
    """What is wrong in the table with an entity whose newest canonical record is a tombstone."""
    if row is not None:
        yield "canonical-table", "exists, but its newest canonical record deletes it"
    if tombstone is None or tombstone < (epoch or 0, offset):
        yield "I4", "has no tombstone of its delete: an older record could restore the row"
