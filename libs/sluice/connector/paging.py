"""Paging: how the request for the next page is built from a page, and how the last page is recognised.

Many sources do not mark the last page. Then the end of a listing is inferred from a missing link or an empty page, and
the poller needs evidence for it: `end_is_implicit` returns whether a page states no end, and `resized` builds the
request that repeats the listing with another page size.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from sluice import json_text
from sluice.connector.members import refuse_renamed
from sluice.connector.messages import ParamValue, Request, Response, resolve, with_params
from sluice.errors import SettingsError

_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s;,\"]+))*)")
_REL_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next\b)", re.IGNORECASE)


class Paging(Protocol):
    """A declared paging: how the pages of a stream follow one another."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        """The query parameters of the request for the first page; `page_size` is None if the source decides."""

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        """The request for the page after `response`; None if this is the last page.

        `request` is the one that `response` answers. `records`: how many records the page of `response` has.
        """


class ImplicitEnd(ABC):
    """Base class for a paging in which the last page may not say that it is the last page.

    `size_param`: the query parameter that requests a page size.
    """

    size_param: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_renamed(cls)

    @property
    @abstractmethod
    def declared(self) -> str:
        """The name of what leads to the next page, for error texts: a member, a header, or query parameters."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {} if page_size is None else {self.size_param: page_size}

    def end_is_implicit(self, response: Response) -> bool:
        """Whether the last page `response` does not say itself that it is the last page."""
        return True

    def resized(self, request: Request, page_size: int) -> Request:
        """The first `request` of a listing, changed so that it requests pages of `page_size` records."""
        return Request(request.method, with_params(request.url, {self.size_param: page_size}), request.headers)

    def _following(self, request: Request, link: str) -> Request:
        """The request for the page at the address `link`, with the method and headers of `request`.

        Raises NotJson if `link` is no address.
        """
        try:
            return Request(request.method, resolve(request.url, link), request.headers)
        except ValueError:
            raise json_text.NotJson(f"{self.declared} is not a link") from None


@dataclass(frozen=True)
class SinglePage:
    """The paging of a stream that has all its records on one page.

    If the page says that more records follow, this is a fault of the stream.
    """

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        return None


@dataclass(frozen=True)
class NextLink(ImplicitEnd):
    """The paging by a link in the body: the member at `path` is the next page's address.

    On the last page the member is null, empty or missing. If the last page lacks the member, an earlier page must have
    had it, and the last page must have fewer records than the first page. `size_param` is the query parameter that
    requests `page_size` records.

    A dot in `path` leads into a member, unless a member's own name contains the dot: `NextLink("@odata.nextLink")` is
    one member, `NextLink("links.next")` is `next` of `links`. `NextLink(("a.b", "next"))` names each step separately.
    """

    path: json_text.Path
    size_param: str = "limit"

    @property
    def declared(self) -> str:
        return json_text.spelled(self.path)

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        try:
            link = json_text.decode(json_text.member(response.body, self.path))
        except json_text.Missing:
            return None
        if not link:
            return None
        if not isinstance(link, str):
            raise json_text.NotJson(f"{self.declared} is not a link")
        return self._following(request, link)

    def end_is_implicit(self, response: Response) -> bool:
        try:
            json_text.member(response.body, self.path)
        except json_text.NullBefore:
            return False
        except json_text.Missing:
            return True
        return False


@dataclass(frozen=True)
class LinkHeader(ImplicitEnd):
    """The paging by a link in the header `Link` (RFC 8288): the next page's address has `rel="next"`.

    The last page has no such link. `size_param` is the query parameter that requests `page_size` records.
    """

    size_param: str = "limit"

    @property
    def declared(self) -> str:
        return "the Link header"

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        link = next_in_header(response)
        return None if link is None else self._following(request, link)


@dataclass(frozen=True)
class Offset(ImplicitEnd):
    """The paging by counting. The query parameter `param` is the number of records before the page, and `size_param` is
    the number of records to request.

    The first empty page ends the listing, because a source may return fewer records than were requested. The stream
    must declare `page_size`.
    """

    param: str = "offset"
    size_param: str = "limit"

    @property
    def declared(self) -> str:
        return f"{self.param} and {self.size_param}"

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        if page_size is None:
            raise SettingsError("paging by Offset() needs page_size. Next: declare page_size = 100 in the stream")
        return {self.param: 0, self.size_param: page_size}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        if records == 0:
            return None
        at = int(dict(parse_qsl(urlsplit(request.url).query))[self.param])
        return Request(request.method, with_params(request.url, {self.param: at + records}), request.headers)


def next_in_header(response: Response) -> str | None:
    """The address with `rel="next"` in the header `Link` of `response`; None if there is no such address."""
    for address, parameters in _LINK.findall(response.headers.get("link", "")):
        if _REL_NEXT.search(parameters):
            return str(address)
    return None
