"""Paging: from one page to the request for the next page, or None after the last one.

Many sources do not mark the last page: its end is concluded from a missing link or an empty page. Then the poller wants
evidence: `end_is_implicit` says that the page stated no end, and `resized` builds the request that repeats the listing
with another page size.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from sluice import json_text
from sluice.connector.messages import ParamValue, Request, Response, resolve, with_params

_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s;,\"]+))*)")
_REL_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next\b)", re.IGNORECASE)


class Paging(Protocol):
    """How a stream's pages follow one another."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        """Query parameters of the first page."""

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        """The request after `request`, whose page has `records` records; None after the last page."""


class ImplicitEnd(ABC):
    """A paging whose last page may not say that it is the last."""

    size_param: str

    @property
    @abstractmethod
    def declared(self) -> str:
        """What leads to the next page, for people: the member of the link, the parameters of the query."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {} if page_size is None else {self.size_param: page_size}

    def end_is_implicit(self, response: Response) -> bool:
        """Whether `response`, after which no page follows, does not itself state that it is the last."""
        return True

    def resized(self, request: Request, page_size: int) -> Request:
        """The first `request`, for pages of `page_size` records."""
        return Request(request.method, with_params(request.url, {self.size_param: page_size}), request.headers)

    def _following(self, request: Request, link: str) -> Request:
        """The request for the page that `link` leads to. Raises NotJson for a link that is no address."""
        try:
            return Request(request.method, resolve(request.url, link), request.headers)
        except ValueError:
            raise json_text.NotJson(f"{self.declared} is not a link") from None


@dataclass(frozen=True)
class SinglePage:
    """All records in one answer. An answer that says that more follows is a fault of the stream."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        return None


@dataclass(frozen=True)
class NextLink(ImplicitEnd):
    """The member at `path` is the next page's address; on the last page it is null, empty or missing.

    If the last page lacks the member, an earlier page must have had it, and the last page must have fewer records than
    the first. `size_param` is the query parameter for `page_size`.

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
    """The header `Link` (RFC 8288) has the next page's address with `rel="next"`; the last page has none."""

    size_param: str = "limit"

    @property
    def declared(self) -> str:
        return "the Link header"

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        link = next_in_header(response)
        return None if link is None else self._following(request, link)


@dataclass(frozen=True)
class Offset(ImplicitEnd):
    """The query counts records: `offset` and `limit`. The last page is the first empty one, because a source may return
    fewer records than were requested. The stream must declare `page_size`.
    """

    param: str = "offset"
    size_param: str = "limit"

    @property
    def declared(self) -> str:
        return f"{self.param} and {self.size_param}"

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        if page_size is None:
            raise ValueError("paging by offset needs page_size")
        return {self.param: 0, self.size_param: page_size}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        if records == 0:
            return None
        at = int(dict(parse_qsl(urlsplit(request.url).query))[self.param])
        return Request(request.method, with_params(request.url, {self.param: at + records}), request.headers)


def next_in_header(response: Response) -> str | None:
    """The address with `rel="next"` in the header `Link`; None if there is none."""
    for address, parameters in _LINK.findall(response.headers.get("link", "")):
        if _REL_NEXT.search(parameters):
            return str(address)
    return None
