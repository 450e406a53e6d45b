"""Paging: from one page to the request for the next, or None after the last.

Where the last page is only concluded, from a link that is not there or from an empty page, the poller asks for proof:
`ends_open` says that nothing was stated, and `resized` makes the request that tries the same with other pages.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from sluice import json_text
from sluice.connector.messages import ParamValue, Request, Response, joined, with_params

_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:\"[^\"]*\"|[^\s;,\"]+))*)")
_REL_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next\b)", re.IGNORECASE)


class Paging(Protocol):
    """How a stream's pages follow one another."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        """Parameters of the first page's query."""

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        """The request after `request`, whose page held `records` records."""


class Concluded(ABC):
    """A paging whose last page need not say that it is the last."""

    size_param: str

    @property
    @abstractmethod
    def declared(self) -> str:
        """What leads on, for people: the link's member, the query's parameter."""

    @abstractmethod
    def ends_open(self, response: Response) -> bool:
        """Whether `response`, after which nothing follows, states nothing of an end."""

    def resized(self, request: Request, page_size: int) -> Request:
        """The first `request` with pages of `page_size` records."""
        return Request(request.method, with_params(request.url, {self.size_param: page_size}), request.headers)


@dataclass(frozen=True)
class SinglePage:
    """Everything in one answer. One that looks as if more followed is a fault of the stream."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        return None


def _joined(url: str, link: str, declared: str) -> str:
    """The address that a page's link means. Raises NotJson for one that cannot be read."""
    try:
        return joined(url, link)
    except ValueError:
        raise json_text.NotJson(f"{declared} is not a link") from None


@dataclass(frozen=True)
class NextLink(Concluded):
    """The page states the next page's address at `path`; null or empty on the last one. Where the last page lacks the
    member, it must have been seen before, and that page must be shorter than the first.

    A dot in `path` leads into a member, except where a member's own name has it: `NextLink("@odata.nextLink")` and
    `NextLink("links.next")` both mean what they say. `NextLink(("a.b", "next"))` names each step by itself.
    """

    path: json_text.Path
    size_param: str = "limit"

    @property
    def declared(self) -> str:
        return json_text.spelled(self.path)

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {} if page_size is None else {self.size_param: page_size}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        try:
            link = json_text.decode(json_text.member(response.body, self.path))
        except json_text.Missing:
            return None
        if not link:
            return None
        if not isinstance(link, str):
            raise json_text.NotJson(f"{self.declared} is not a link")
        return Request(request.method, _joined(request.url, link, self.declared), request.headers)

    def ends_open(self, response: Response) -> bool:
        try:
            json_text.member(response.body, self.path)
        except json_text.NullBefore:
            return False
        except json_text.Missing:
            return True
        return False


@dataclass(frozen=True)
class LinkHeader(Concluded):
    """The next page's address stands in the header `Link` (RFC 8288), with `rel="next"`; the last page has none."""

    size_param: str = "limit"

    @property
    def declared(self) -> str:
        return "the Link header"

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {} if page_size is None else {self.size_param: page_size}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        link = next_in_header(response)
        if link is None:
            return None
        return Request(request.method, _joined(request.url, link, self.declared), request.headers)

    def ends_open(self, response: Response) -> bool:
        return True


@dataclass(frozen=True)
class Offset(Concluded):
    """The query counts records: `offset` and `limit`. Only an empty page is the last one: a server may serve fewer
    records than it was asked for.
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

    def ends_open(self, response: Response) -> bool:
        return True


def next_in_header(response: Response) -> str | None:
    """The address that the header `Link` gives with `rel="next"`; None where it gives none."""
    for address, parameters in _LINK.findall(response.headers.get("link", "")):
        if _REL_NEXT.search(parameters):
            return str(address)
    return None
