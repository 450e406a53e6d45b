"""Paging: from one page to the request for the next, or None after the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urljoin, urlsplit

from sluice.connector import json_text
from sluice.connector.messages import ParamValue, Request, Response, with_params


class Paging(Protocol):
    """How a stream's pages follow one another."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        """Parameters of the first page's query."""

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        """The request after `request`, whose page held `records` records."""


@dataclass(frozen=True)
class SinglePage:
    """Everything in one answer."""

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        return {}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        return None


@dataclass(frozen=True)
class NextLink:
    """The page states the next page's address at dotted `path`; null, empty or missing on the last one."""

    path: str
    size_param: str = "limit"

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
            raise json_text.NotJson(f"{self.path} is not a link")
        return Request(request.method, urljoin(request.url, link), request.headers)


@dataclass(frozen=True)
class Offset:
    """The query counts records: `offset` and `limit`. Only an empty page is the last one: a server may serve fewer
    records than it was asked for.
    """

    param: str = "offset"
    size_param: str = "limit"

    def first(self, page_size: int | None) -> dict[str, ParamValue]:
        if page_size is None:
            raise ValueError("paging by offset needs page_size")
        return {self.param: 0, self.size_param: page_size}

    def next(self, response: Response, request: Request, records: int) -> Request | None:
        if records == 0:
            return None
        at = int(dict(parse_qsl(urlsplit(request.url).query))[self.param])
        return Request(request.method, with_params(request.url, {self.param: at + records}), request.headers)
