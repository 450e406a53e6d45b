"""A stream: how one kind of record is asked for. The framework does the asking.

`Stream` is the level for odd APIs: an author says what the first and the next request are and where the records
stand. `RestStream` (rest.py) answers these by declaration for the usual ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from sluice.connector.cursor import Cursor, CursorValue, as_time, order
from sluice.connector.messages import Request, Response
from sluice.connector.paging import Concluded
from sluice.connector.record import Record
from sluice.errors import SettingsError

if TYPE_CHECKING:
    from sluice.connector.connector import Connector

Model = TypeVar("Model")


class Stream(ABC, Generic[Model]):
    """One stream of a source. `Model` is the record's raw model, for the mapping; fetching does not validate by it.

    `key`: the source key's fields (dotted paths). `cursor`: how to ask for changes; None = every pass lists all.
    `enumerate_every`: how often everything is listed, which is what finds deletes and changes that move no cursor.
    `looks_before_delete`: in how many complete listings in a row a key must be missing. Two, because rows that
    shift between pages during one listing look deleted; 1 where the source pages over a stable snapshot.
    `not_paging`: dotted names of members, and names of headers, that look as if they told of more records (`next`,
    `total`, `Link`), or of errors, and do not.
    """

    key: ClassVar[str | tuple[str, ...]]
    cursor: ClassVar[Cursor | None] = None
    enumerate_every: ClassVar[timedelta] = timedelta(hours=1)
    looks_before_delete: ClassVar[int] = 2
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
        key = cls.__dict__.get("key")
        if key is not None and not (key if isinstance(key, str) else (key and all(key))):
            raise SettingsError(f"{cls.__module__}.{cls.__qualname__}: key names no field")

    @classmethod
    def require_declared(cls) -> None:
        """Raises SettingsError for what every stream of this kind declares, and this class does not."""
        if not getattr(cls, "key", None):
            raise SettingsError(f"{cls.__qualname__} declares no key. Next: name the member that tells records apart")
        if cls.cursor is not None and not isinstance(cls.cursor, Cursor):
            raise SettingsError(f'{cls.__qualname__}: a cursor is written Cursor("modifiedAt")')

    @property
    def key_fields(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    @abstractmethod
    def first_request(self, since: CursorValue | None) -> Request:
        """The first request of a pass: of everything that changed at or after `since`, or of all (None)."""

    @abstractmethod
    def next_request(self, response: Response, request: Request) -> Request | None:
        """The request after `request`, which was answered by `response`; None after the last page."""

    @abstractmethod
    def records_in(self, response: Response) -> Sequence[bytes]:
        """The records of a page as JSON: `response.slices(path)`, or made with `encode` where they are reshaped.

        Raises NotJson or Missing where the page is not what it should be: it is refused whole and asked for again.
        Raises Transient or EnvironmentFault where the API reports an error with status 200.
        """

    @property
    def concluded(self) -> Concluded | None:
        """The paging, where its last page need not say that it is the last."""
        return None

    def cursor_of(self, record: Record) -> CursorValue | None:
        """The cursor value that `record` states; None where it states none (it then moves no cursor)."""
        value = record.get(self.cursor.field) if self.cursor else None
        return value if isinstance(value, str | int) and not isinstance(value, bool) else None

    def changed_at(self, record: Record) -> datetime | None:
        """When the source says that `record` changed; None where it does not say."""
        return as_time(self.cursor_of(record))

    def since(self, newest: CursorValue | None) -> CursorValue | None:
        """Where the next pass begins if `newest` is the newest value of a complete one."""
        return self.cursor.since(newest) if self.cursor is not None and newest is not None else None


def readable_cursor(stream: Stream[Any], record: Record) -> CursorValue | None:
    """`stream.cursor_of(record)`, None also where the value cannot be understood."""
    try:
        value = stream.cursor_of(record)
        if value is not None:
            order(value)
    except (ValueError, LookupError, TypeError):
        return None
    return value
