"""A stream of a source: how its records are requested. The framework sends the requests.

`Stream` is for unusual APIs: its author writes methods that build the first request and the next request, and that find
the records on a page. For usual APIs, `RestStream` (rest.py) derives these methods from declarations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from sluice.connector.cursor import Cursor, CursorValue, as_time, order
from sluice.connector.members import require_members
from sluice.connector.messages import Request, Response
from sluice.connector.paging import ImplicitEnd
from sluice.connector.record import SourceRecord
from sluice.errors import SettingsError

if TYPE_CHECKING:
    from sluice.connector.connector import Connector

Model = TypeVar("Model")


class Stream(ABC, Generic[Model]):
    """One stream of a source. `Model`: the type that mappings read. The poller does not validate records against it.

    `key`: the member, or the tuple of members, that identifies a record. A dot leads into a member.
    `cursor`: how only changed records are requested; None: every poll lists all records.
    `enumerate_every`: how often all records are listed. This finds deletes, and changes that do not move the cursor.
    `listings_before_delete`: in how many complete listings in a row a key must be missing before it is deleted. Two is
    safe for sources in which a row can move to another page during a listing. Set 1 if the source pages over a stable
    snapshot.
    `not_paging`: dotted names of members, and names of headers, that look like paging (`next`, `total`, `Link`) or like
    errors, but are neither.
    `page_size`: how many records to request for a page; None: the source decides.
    """

    key: ClassVar[str | tuple[str, ...]]
    cursor: ClassVar[Cursor | None] = None
    enumerate_every: ClassVar[timedelta] = timedelta(hours=1)
    listings_before_delete: ClassVar[int] = 2
    not_paging: ClassVar[tuple[str, ...]] = ()
    page_size: ClassVar[int | None] = None
    model: ClassVar[Any] = None

    def __init__(self, connector: Connector[Any]) -> None:
        self.connector = connector

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            parent = get_origin(base)
            if isinstance(parent, type) and issubclass(parent, Stream) and not isinstance(get_args(base)[0], TypeVar):
                cls.model = get_args(base)[0]
        require_members(cls)

    @classmethod
    def require_declared(cls) -> None:
        """Raises SettingsError if this class of a stream lacks a declaration, such as `key`."""
        if not getattr(cls, "key", None):
            raise SettingsError(f"{cls.__qualname__} declares no key. Next: name the member that identifies a record")

    @property
    def key_fields(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    @abstractmethod
    def first_request(self, since: CursorValue | None) -> Request:
        """The request for the first page of a listing of the records that changed at or after the cursor value `since`;
        None: of all records."""

    @abstractmethod
    def next_request(self, response: Response, request: Request) -> Request | None:
        """The request for the page after `response`, which answered `request`; None if this is the last page."""

    @abstractmethod
    def records_in(self, response: Response) -> Sequence[bytes]:
        """The records of the page `response`, each as JSON: `response.slices(path)`, or the results of `encode` if this
        method builds the records itself.

        Called only for responses with a success status. Raise NotJson or Missing if the page is not as expected: then
        the whole page is refused and requested again. Raise Transient or EnvironmentFault if the API reports an error
        with status 200.
        """

    @property
    def implicit_end(self) -> ImplicitEnd | None:
        """The declared paging, if its last page may not say that it is the last page; else None."""
        return None

    def cursor_of(self, record: SourceRecord) -> CursorValue | None:
        """The cursor value of `record`; None if the record has none, and then it does not move the cursor."""
        value = record.get(self.cursor.field) if self.cursor else None
        return value if isinstance(value, str | int) and not isinstance(value, bool) else None

    def changed_at(self, record: SourceRecord) -> datetime | None:
        """When `record` changed, by the source's own statement; None if the source does not state it."""
        return as_time(self.cursor_of(record))

    def since(self, newest: CursorValue | None) -> CursorValue | None:
        """The cursor value from which the next poll requests changes; None: it lists all records.

        `newest`: the newest cursor value of complete listings, None before the first one.
        """
        return self.cursor.since(newest) if self.cursor is not None and newest is not None else None


def readable_cursor(stream: Stream[Any], record: SourceRecord) -> CursorValue | None:
    """The cursor value of `record`; None if it has none, or if the value is neither a time nor a whole number."""
    try:
        value = stream.cursor_of(record)
        if value is not None:
            order(value)
    except (ValueError, LookupError, TypeError):
        return None
    return value
