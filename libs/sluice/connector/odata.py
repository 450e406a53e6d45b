"""Streams of OData 4 services: pages follow `@odata.nextLink`, and changed records are requested with `$filter`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sluice.connector.cursor import CursorValue, as_time
from sluice.connector.messages import ParamValue, Request
from sluice.connector.paging import NextLink, Paging
from sluice.connector.rest import RestStream
from sluice.connector.stream import Model
from sluice.json_text import Path


@dataclass(frozen=True)
class ODataPages(NextLink):
    """The paging of OData: the member `@odata.nextLink` is the next page's address (OData JSON 4.01, 4.5.5).

    The last page has no such member. The service decides how many records a page has. `page_size` is requested as
    `odata.maxpagesize` in the header `Prefer`, because `$top` would end the whole listing after that many records.
    """

    path: Path = "@odata.nextLink"

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {}

    def resized(self, request: Request, page_size: int) -> Request:
        return request.with_headers({"Prefer": f"odata.maxpagesize={page_size}"})


PAGES = ODataPages()


class ODataStream(RestStream[Model]):
    """A stream that is an entity set of an OData 4 service. It has the members of `Stream`, too.

    `path`: appended to `base_url`, such as `/Books`. `key`: the key properties of the entity set.
    `cursor`: a property that rises with each change, declared without a `param`; changes are requested with `$filter`.
    `filter`: a further condition of every request.
    `order_by`: the value of `$orderby`. None: the cursor and the key; "": none, for a service that refuses to sort.
    `params`: further query options (`$select`, `$expand`).
    `count`: whether to request `$count`, which is compared with the number of records that arrive; False for a service
    that cannot count.

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
    """`value` as it is written in a `$filter` (OData ABNF 4.01): a text in single quotes, a number or time without."""
    if isinstance(value, int):
        return str(value)
    try:
        as_time(value)
    except ValueError:
        return "'" + value.replace("'", "''") + "'"
    return value


def _path(field: str) -> str:
    return field.replace(".", "/")
