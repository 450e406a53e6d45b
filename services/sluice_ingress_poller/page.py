"""One page: what is in it, and which of its records are news. Pure functions; nothing here asks or publishes."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluice.connector import CursorValue, Missing, NotJson, Request, Response, Stream
from sluice.connector.messages import without_query
from sluice.connector.paging_hints import PagingHints, paging_hints
from sluice.connector.record import SourceRecord, UnreadableKey, source_key
from sluice.connector.stream import readable_cursor
from sluice.errors import EnvironmentFault, SluiceError, Transient

# A raw topic takes 8 MiB a batch; the headers and the batch's own frame need room.
RECORD_BYTES_MAX = 8 * 1024 * 1024 - 16 * 1024
REFUSED_PAGE = "if it lasts, mend what the source answers, or the connector that reads it; it is asked again by itself"
UNREADABLE_IN_A_ROW_MAX = 100


def content_hash(raw: bytes) -> bytes:
    """What a known key remembers of its newest record."""
    return hashlib.blake2b(raw, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Item:
    """A record of a page. `key` is None where it cannot be read, `unreadable` says why."""

    key: bytes | None
    raw: bytes
    cursor: CursorValue | None
    changed_at: datetime | None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """`signs`: what it says of more records. `open`: it is the last one, and nothing but the paging says so."""

    items: list[Item]
    next: Request | None
    server_time: datetime | None
    signs: PagingHints
    open: bool
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that goes to the dead letters; `code` is from the closed list unreadable-key, too-large."""

    key: bytes | None
    raw: bytes
    code: str
    reason: str


@dataclass(slots=True)
class News:
    """What a page changes: records to publish, records to park, and how many say nothing new or are withheld because
    their key stands for two records.
    """

    upserts: list[Item] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    unchanged: int = 0
    conflicting: int = 0


def read_page(stream: Stream[Any], response: Response) -> Page:
    """The records of a successful `response` and the request for the next page.

    A page that is cut off, is no JSON, or lacks its records or next link is refused whole: Transient. So is one
    whose records nearly all lack their key: EnvironmentFault, since that is a wrong `key`, not bad records.
    """
    where = f"{response.request.method} {without_query(response.request.url)}"
    try:
        items = [_item(stream, raw) for raw in stream.records_in(response)]
        following = stream.next_request(response, response.request)
        said, open_end = paging_hints(response, stream.not_paging), following is None and _ends_open(stream, response)
    except (NotJson, Missing) as error:
        kind = response.headers.get("content-type", "none").partition(";")[0][:64]
        why = f"{where}: page refused whole: {error}{_failure_in(response)} (content-type {kind})"
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
    return Page(items, following, response.server_time, said, open_end, fingerprint)


def news(items: list[Item], known: Callable[[bytes], bytes | None], parked_before: Collection[bytes]) -> News:
    """What `items` change, given the content hash that is `known` of a key and what was parked before.

    A key twice in one page counts twice, in order, where its contents differ.
    """
    found = News()
    fresh: dict[bytes, bytes] = {}
    for item in items:
        fingerprint = content_hash(item.raw)
        problem = _problem(item)
        if problem is not None:
            if fingerprint in parked_before:
                found.unchanged += 1
            else:
                found.parked.append(Parked(item.key, item.raw, *problem))
        elif item.key is not None:
            if (fresh.get(item.key) or known(item.key)) == fingerprint:
                found.unchanged += 1
            else:
                fresh[item.key] = fingerprint
                found.upserts.append(item)
    return found


def author_fault(error: BaseException, where: str) -> EnvironmentFault:
    """What an unexpected error in a connector's own code becomes: it stops that stream, not the whole stage.

    Its type and line are told; its text is not, since that may quote a record.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    at = f"{Path(frame.filename).name}:{frame.lineno}"
    return EnvironmentFault(where, f"the connector raised {type(error).__name__} at {at}", "mend the connector")


def _ends_open(stream: Stream[Any], response: Response) -> bool:
    return stream.implicit_end is not None and stream.implicit_end.end_is_implicit(response)


def _failure_in(response: Response) -> str:
    """What a refused page says of a failure, by its member's name."""
    try:
        named = paging_hints(response).errors
    except (NotJson, RecursionError):
        return ""
    return f"; it reports a failure in its member {named}" if named else ""


def _item(stream: Stream[Any], raw: bytes) -> Item:
    record = SourceRecord(raw)
    try:
        key = source_key(record, stream.key_fields)
    except UnreadableKey as error:
        return Item(None, raw, None, None, str(error))
    return Item(key, raw, readable_cursor(stream, record), stated_change(stream, record))


def stated_change(stream: Stream[Any], record: SourceRecord) -> datetime | None:
    """When the source says that `record` changed, in UTC; None where it says no time of the calendar."""
    try:
        changed = stream.changed_at(record)
        if changed is None:
            return None
        return changed.replace(tzinfo=UTC) if changed.tzinfo is None else changed.astimezone(UTC)
    except (ValueError, LookupError, TypeError, OverflowError):
        return None


def _problem(item: Item) -> tuple[str, str] | None:
    if item.key is None:
        return "unreadable-key", item.unreadable
    if len(item.raw) + 2 * len(item.key) > RECORD_BYTES_MAX:  # the key stands in a header, too
        return "too-large", f"the record exceeds {RECORD_BYTES_MAX} bytes"
    return None


def _longest_unreadable_run(items: list[Item]) -> int:
    longest = run = 0
    for item in items:
        run = run + 1 if item.key is None else 0
        longest = max(longest, run)
    return longest
