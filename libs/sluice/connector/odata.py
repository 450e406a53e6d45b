"""Entity sets of OData 4 services by declaration: pages by `@odata.nextLink`, changes by `$filter`."""

from __future__ import annotations

from typing import ClassVar

from sluice.connector.cursor import CursorValue, as_time
from sluice.connector.messages import ParamValue, Request, Response
from sluice.connector.paging import Concluded, NextLink, Paging
from sluice.connector.rest import RestStream
from sluice.connector.stream import Model
from sluice.json_text import Path

LINK = NextLink("@odata.nextLink")


class ODataPages(Concluded):
    """The page states the next page's address as `@odata.nextLink`, the last page has none (OData JSON 4.01, 4.5.5).

    How many records a page holds is the service's choice; `page_size` is asked for as `odata.maxpagesize` in the
    header `Prefer`, since `$top` would end the whole listing there.
    """

    @property
    def declared(self) -> str:
        return LINK.declared

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        return LINK.next(response, request, records)

    def ends_open(self, response: Response) -> bool:
        return LINK.ends_open(response)

    def resized(self, request: Request, page_size: int) -> Request:
        return request.with_headers({"Prefer": f"odata.maxpagesize={page_size}"})


PAGES = ODataPages()


class ODataStream(RestStream[Model]):
    """An entity set. `path`: below `base_url`, such as `/Books`. `key`: its key properties.

    `cursor`: a property that rises with each change, without a `param`: changes are asked for by `$filter`.
    `filter`: what every request asks for beside it. `order_by`: None for cursor and key, "" for a service that refuses
    to sort. `params`: further query options (`$select`, `$expand`). The service is asked to count what it lists, which
    is compared with what arrived; `count` False where it does not know how.

    ```python
    class Books(ODataStream[Book]):
        path, key = "/Books", "ID"
        cursor = Cursor("modifiedAt")
        page_size = 50
    ```
    """

    records: ClassVar[Path] = "value"
    paging: ClassVar[Paging] = PAGES
    filter: ClassVar[str] = ""
    order_by: ClassVar[str | None] = None
    count: ClassVar[bool] = True

    def first_request(self, since: CursorValue | None) -> Request:
        asked = {"$filter": self._filter(since), "$orderby": self._order(since), "$count": "true" if self.count else ""}
        params = {name: value for name, value in asked.items() if value}
        request = Request.get(self.path, {**params, **self.params})
        return request if self.page_size is None else PAGES.resized(request, self.page_size)

    def _filter(self, since: CursorValue | None) -> str:
        changed = "" if since is None or self.cursor is None else f"{_path(self.cursor.field)} ge {literal(since)}"
        if self.filter and changed:
            return f"({self.filter}) and {changed}"
        return self.filter or changed

    def _order(self, since: CursorValue | None) -> str:
        if self.order_by is not None:
            return self.order_by
        fields = [] if since is None or self.cursor is None else [self.cursor.field]
        return ",".join(_path(field) for field in (*fields, *self.key_fields))


def literal(value: CursorValue) -> str:
    """A value in a `$filter` (OData ABNF 4.01): numbers, dates and times stand bare, texts in single quotes."""
    if isinstance(value, int):
        return str(value)
    try:
        as_time(value)
    except ValueError:
        return "'" + value.replace("'", "''") + "'"
    return value


def _path(field: str) -> str:
    return field.replace(".", "/")
