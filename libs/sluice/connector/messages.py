"""Requests and responses of HTTP as plain values. Authors of connectors for unusual APIs build and read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote_plus, urljoin, urlsplit, urlunsplit

from sluice import json_text
from sluice.http import url_problem

ParamValue = str | int


@dataclass(frozen=True)
class Request:
    """One HTTP request. `url` may be relative to the connector's `base_url`. `Connector.auth` adds the credentials."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @classmethod
    def get(cls, url: str, params: Mapping[str, ParamValue] | None = None) -> Request:
        """A GET request for `url`. `params` are added to the query of `url` and replace parameters of the same name."""
        return cls("GET", with_params(url, params or {}))

    @classmethod
    def post_json(cls, url: str, payload: Any) -> Request:
        """A POST request to `url` with `payload` as JSON."""
        return cls("POST", url, {"Content-Type": "application/json"}, json_text.encode(payload))

    def at(self, base_url: str) -> Request:
        """A copy of this request whose `url` is absolute: a relative one is placed below `base_url`."""
        return replace(self, url=absolute(base_url, self.url))

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """A copy of this request with `headers` added; they replace headers of the same name."""
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True)
class Response:
    """A complete response: header names in lower case, the body decompressed and within the connector's `limits`."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body as JSON, decoded; fractions are `Decimal`s. Raises NotJson if the body is not JSON."""
        return json_text.decode(self.body)

    def slices(self, path: json_text.Path) -> list[bytes]:
        """The elements of the array at `path` ("": of the body), each as the bytes that the source sent.

        Raises Missing if the body has no member at `path`, NotJson if the body is not JSON or the member is no array.
        """
        return json_text.slices(self.body, path)

    @property
    def server_time(self) -> datetime | None:
        """The time of the server's clock, from the header `Date`; None if it is missing or unreadable."""
        try:
            found = parsedate_to_datetime(self.headers["date"])
        except (KeyError, ValueError):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @property
    def retry_after_s(self) -> float | None:
        """The seconds to wait that the header `Retry-After` requests (RFC 9110, 10.2.3), 0 or more.

        None if the header is missing or unreadable. If it is a date, the seconds count from the header `Date`, because
        the clock of this machine may differ from the server's.
        """
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return float(value)
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return None
        if until.tzinfo is None:
            return None
        return max((until - (self.server_time or datetime.now(UTC))).total_seconds(), 0.0)


def absolute(base_url: str, url: str) -> str:
    """The absolute form of `url`: `/workers` below the `base_url` `https://h/api/v1` is `https://h/api/v1/workers`.

    A `url` with a scheme does not change.
    """
    if urlsplit(url).scheme:
        return url
    if url.startswith("//"):
        return urljoin(base_url, url)
    return base_url.rstrip("/") + "/" + url.lstrip("/")


def resolve(url: str, link: str) -> str:
    """The absolute address of `link`, which is on a page with the address `url`.

    Raises ValueError if no request can be sent to it; its text says why, and quotes nothing.
    """
    try:
        address = urljoin(url, link)
    except ValueError:
        raise ValueError("is no address") from None
    if problem := url_problem(address):
        raise ValueError(problem)
    return address


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of `url`."""
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def without_query(url: str) -> str:
    """`url` without its query, fragment and credentials, for an error text."""
    return without_path(url) + urlsplit(url).path


def without_path(url: str) -> str:
    """Scheme, host and port of `url`, for an error text, in the spelling of `url`: a secret is removed by its
    spelling."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def with_params(url: str, params: Mapping[str, ParamValue]) -> str:
    """`url` with `params` in its query. The spelling of the query's other parameters does not change."""
    if not params:
        return url
    parts = urlsplit(url)
    kept = [part for part in parts.query.split("&") if part and unquote_plus(part.partition("=")[0]) not in params]
    query = "&".join([*kept, *(query_part(name, str(value)) for name, value in params.items())])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))


def query_part(name: str, value: str, safe: str = "") -> str:
    """A query parameter `name=value`, percent-encoded by RFC 3986.

    A space becomes `%20`, because some servers do not read `+` as a space. Not encoded are `$` in the name (OData needs
    it) and the characters of `safe` in the value.
    """
    return f"{quote(name, safe='$')}={quote(value, safe=safe)}"
