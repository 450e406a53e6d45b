"""Streams of REST APIs that an author declares: where the records are, their key, their cursor and their paging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sluice.connector.cursor import CursorValue
from sluice.connector.messages import ParamValue, Request, Response
from sluice.connector.paging import ImplicitEnd, Paging, SinglePage
from sluice.connector.stream import Model, Stream
from sluice.errors import SettingsError
from sluice.json_text import Path


class RestStream(Stream[Model]):
    """A stream of a REST API, declared by its members. It has the members of `Stream`, too.

    `path`: appended to `base_url`.
    `records`: the path to the array of records in the body; "": the body itself is the array. A dot leads into a member
    (`d.results`), unless a member's own name contains the dot (`@graph.items`). A tuple names each step separately.
    `params`: query parameters of every request.
    `paging`: how pages follow one another: `SinglePage()`, `NextLink(…)`, `LinkHeader()` or `Offset()`.

    ```python
    class Workers(RestStream[WorkdayWorker]):
        path, records, key = "/workers", "data", "id"
        cursor = Cursor("updatedAt", param="updated_from", lookback=timedelta(minutes=5))
        paging = NextLink("links.next")
    ```
    """

    path: ClassVar[str]
    records: ClassVar[Path] = ""
    params: ClassVar[Mapping[str, ParamValue]] = {}
    paging: ClassVar[Paging] = SinglePage()

    @classmethod
    def require_declared(cls) -> None:
        super().require_declared()
        if not isinstance(getattr(cls, "path", None), str):
            raise SettingsError(f"{cls.__qualname__} declares no path. Next: name it, below base_url")

    def first_request(self, since: CursorValue | None) -> Request:
        params = {**self.params, **self.paging.first(self.page_size)}
        if since is not None and self.cursor is not None and self.cursor.param is not None:
            params[self.cursor.param] = since
        return Request.get(self.path, params)

    @property
    def implicit_end(self) -> ImplicitEnd | None:
        return self.paging if isinstance(self.paging, ImplicitEnd) else None

    def next_request(self, response: Response, request: Request) -> Request | None:
        return self.paging.next(response, request, len(self.records_in(response)))

    def records_in(self, response: Response) -> Sequence[bytes]:
        return response.slices(self.records)
