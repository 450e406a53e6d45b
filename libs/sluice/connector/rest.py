"""REST streams by declaration: where the records are, their key, cursor and paging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sluice.connector.cursor import CursorValue
from sluice.connector.messages import ParamValue, Request, Response
from sluice.connector.paging import Concluded, Paging, SinglePage
from sluice.connector.stream import Model, Stream
from sluice.errors import SettingsError
from sluice.json_text import Path


class RestStream(Stream[Model]):
    """`path`: below `base_url`. `records`: path of the array in the body ("" = the body itself; a dot leads into a
    member, unless a member's own name has it: `d.results`, `@graph.items`; a tuple names each step by itself).
    `params`: a fixed part of the query. `page_size`: records to ask for, None to leave it to the source.

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
    page_size: ClassVar[int | None] = None

    @classmethod
    def require_declared(cls) -> None:
        super().require_declared()
        if not isinstance(getattr(cls, "path", None), str):
            raise SettingsError(f"{cls.__qualname__} declares no path. Next: name it, below base_url")
        if isinstance(cls.paging, type):
            raise SettingsError(f"{cls.__qualname__}: paging is a class; write {cls.paging.__name__}(…)")

    def first_request(self, since: CursorValue | None) -> Request:
        params = {**self.params, **self.paging.first(self.page_size)}
        if since is not None and self.cursor is not None and self.cursor.param is not None:
            params[self.cursor.param] = since
        return Request.get(self.path, params)

    @property
    def concluded(self) -> Concluded | None:
        return self.paging if isinstance(self.paging, Concluded) else None

    def next_request(self, response: Response, request: Request) -> Request | None:
        return self.paging.next(response, request, len(self.records_in(response)))

    def records_in(self, response: Response) -> Sequence[bytes]:
        return response.slices(self.records)
