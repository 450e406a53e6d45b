"""One page of a polled stream: its records, and which of them changed. Pure functions without I/O."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from sluice.connector import CursorValue, Missing, NotJson, Request, Response, SourceRecord, Stream
from sluice.connector.cursor import in_utc
from sluice.connector.messages import without_query
from sluice.connector.paging_hints import PagingHints, paging_hints
from sluice.connector.record import UnreadableKey, source_key
from sluice.connector.stream import readable_cursor
from sluice.errors import EnvironmentFault, SluiceError, Transient

# A raw topic accepts batches of up to 8 MiB. 16 KiB of them are for the headers of a record and of its batch.
RECORD_BYTES_MAX = 8 * 1024 * 1024 - 16 * 1024
REFUSED_PAGE = (
    "if it lasts, fix what the source answers, or the connector that reads it; Sluice requests it again by itself"
)
UNREADABLE_IN_A_ROW_MAX = 100
CONTENT_TYPE_LENGTH_MAX = 100


def content_hash(raw: bytes) -> bytes:
    """The BLAKE2b hash (16 bytes) of a record's bytes. A record whose key has the same hash already is unchanged."""
    return hashlib.blake2b(raw, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Item:
    """A record of a page. `raw`: its bytes as the source sent them. `key` is None if the key cannot be read; then
    `unreadable` says why. `cursor`, `changed_at`: None if the record states no readable value.
    """

    key: bytes | None
    raw: bytes
    cursor: CursorValue | None
    changed_at: datetime | None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. `next`: the request for the next page, None if this page is the last.

    `server_time`: the header `Date`. `hints`: members and headers that say whether more records follow.
    `implicit_end`: the page is the last one, but does not say so itself. `fingerprint`: the hash of its records.
    """

    items: list[Item]
    next: Request | None
    server_time: datetime | None
    hints: PagingHints
    implicit_end: bool
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A record that becomes a dead letter. `code`: unreadable-key or too-large. `reason`: the cause as a text."""

    key: bytes | None
    raw: bytes
    code: str
    reason: str


@dataclass(slots=True)
class PageChanges:
    """What to do with the records of one page. `upserts`: to publish. `parked`: to write as dead letters.

    `unchanged`: the number of records that were published or parked before. `conflicting`: the number of records that
    are withheld because another record has the same key.
    """

    upserts: list[Item] = field(default_factory=list)
    parked: list[ParkedRecord] = field(default_factory=list)
    unchanged: int = 0
    conflicting: int = 0


def read_page(stream: Stream[Any], response: Response) -> Page:
    """The records of a successful `response` and the request for the next page.

    Raises Transient if the page is cut off, is not JSON, or lacks its records or its next link; then none of its
    records is published. Raises EnvironmentFault if 100 records in a row have no readable key, because then the
    declared `key` is wrong. Raises EnvironmentFault if the connector's own code raises, too.
    """
    where = f"{response.request.method} {without_query(response.request.url)}"
    try:
        items = [_item(stream, raw) for raw in stream.records_in(response)]
        following = stream.next_request(response, response.request)
        hints = paging_hints(response, stream.not_paging)
        paging = stream.implicit_end
        implicit_end = following is None and paging is not None and paging.end_is_implicit(response)
    except (NotJson, Missing) as error:
        why = f"{where}: page refused whole: {error}{_failure_in(response)} (content-type {_content_type(response)})"
        raise Transient(why, next_step=REFUSED_PAGE) from None
    except SluiceError:
        raise
    except (Exception, SystemExit) as error:
        raise author_fault(error, where) from error
    if _longest_unreadable_run(items) >= UNREADABLE_IN_A_ROW_MAX:
        raise EnvironmentFault(
            where,
            f"{UNREADABLE_IN_A_ROW_MAX} records in a row have no readable key",
            f"compare the stream's key ({', '.join(stream.key_fields)}) with what the source sends now",
        )
    fingerprint = content_hash(b"\0".join(item.raw for item in items))
    return Page(items, following, response.server_time, hints, implicit_end, fingerprint)


def page_changes(
    items: list[Item], known: Callable[[bytes], bytes | None], parked_before: Collection[bytes]
) -> PageChanges:
    """Which of the `items` of a page to publish or to park.

    `known` returns the content hash of a key's newest record. `parked_before`: the content hashes of records that were
    parked before. Two different records with one key are both published, in the order of the page.
    """
    found = PageChanges()
    fresh: dict[bytes, bytes] = {}
    for item in items:
        fingerprint = content_hash(item.raw)
        problem = _problem(item)
        if problem is not None:
            if fingerprint in parked_before:
                found.unchanged += 1
            else:
                found.parked.append(ParkedRecord(item.key, item.raw, *problem))
        elif item.key is not None:
            if (fresh.get(item.key) or known(item.key)) == fingerprint:
                found.unchanged += 1
            else:
                fresh[item.key] = fingerprint
                found.upserts.append(item)
    return found


def author_fault(error: BaseException, where: str) -> EnvironmentFault:
    """The fault for an unexpected `error` in a connector's own code. It stops one stream, not the whole stage.

    The fault names the type and the line of the error. It does not repeat the error's text, which may quote a record.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    at = f"{Path(frame.filename).name}:{frame.lineno}"
    return EnvironmentFault(where, f"the connector raised {type(error).__name__} at {at}", "fix the connector")


def _content_type(response: Response) -> str:
    """The header `Content-Type` for an error text. It is never cut, because a part of a secret is not recognised."""
    stated = response.headers.get("content-type", "none")
    return stated if len(stated) <= CONTENT_TYPE_LENGTH_MAX else f"of {len(stated)} characters"


def _failure_in(response: Response) -> str:
    """A part of an error text: the name of the member in which a page reports a failure; empty if there is none."""
    try:
        member = paging_hints(response).errors
    except (NotJson, RecursionError):
        return ""
    return f"; it reports a failure in its member {member}" if member else ""


def _item(stream: Stream[Any], raw: bytes) -> Item:
    record = SourceRecord(raw)
    try:
        key = source_key(record, stream.key_fields)
    except UnreadableKey as error:
        return Item(None, raw, None, None, str(error))
    return Item(key, raw, readable_cursor(stream, record), stated_change(stream, record))


def stated_change(stream: Stream[Any], record: SourceRecord) -> datetime | None:
    """When `record` changed, in UTC, by the source's own statement; None if the source states no valid time."""
    try:
        changed = stream.changed_at(record)
        return None if changed is None else in_utc(changed)
    except (ValueError, LookupError, TypeError, OverflowError):
        return None


def _problem(item: Item) -> tuple[str, str] | None:
    if item.key is None:
        return "unreadable-key", item.unreadable
    if len(item.raw) + 2 * len(item.key) > RECORD_BYTES_MAX:  # the key is in the record and in a header
        return "too-large", f"the record exceeds {RECORD_BYTES_MAX} bytes"
    return None


def _longest_unreadable_run(items: list[Item]) -> int:
    runs = groupby(items, lambda item: item.key is None)
    return max((sum(1 for _ in run) for unreadable, run in runs if unreadable), default=0)
