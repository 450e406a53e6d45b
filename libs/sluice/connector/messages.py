"""Requests and responses as plain values, which authors of unusual APIs build and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote_plus, urljoin, urlsplit, urlunsplit

from sluice import json_text

ParamValue = str | int


@dataclass(frozen=True)
class Request:
    """One request. `url` may be relative to the connector's `base_url`. The connector's `auth` adds the credentials."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @classmethod
    def get(cls, url: str, params: Mapping[str, ParamValue] | None = None) -> Request:
        """A GET of `url`. `params` are added to its query and replace parameters of the same name."""
        return cls("GET", with_params(url, params or {}))

    @classmethod
    def post_json(cls, url: str, payload: Any) -> Request:
        """A POST of `payload` as JSON."""
        return cls("POST", url, {"Content-Type": "application/json"}, json_text.encode(payload))

    def at(self, base_url: str) -> Request:
        """The same request with an absolute `url`."""
        return replace(self, url=absolute(base_url, self.url))

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """The same request with `headers` added."""
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True)
class Response:
    """A complete answer: header names in lower case, the body decompressed and within the connector's `limits`."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The decoded body; fractions are `Decimal`s. Raises NotJson, which refuses the page."""
        return json_text.decode(self.body)

    def slices(self, path: json_text.Path) -> list[bytes]:
        """The records of the array at `path` ("": the body itself), each as the bytes that the source sent.

        Raises NotJson or Missing, which refuse the page.
        """
        return json_text.slices(self.body, path)

    @property
    def server_time(self) -> datetime | None:
        """The server's clock (header `Date`); None if it sends none."""
        try:
            found = parsedate_to_datetime(self.headers["date"])
        except (KeyError, ValueError):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @property
    def retry_after_s(self) -> float | None:
        """Seconds to wait by the header `Retry-After` (RFC 9110, 10.2.3), 0 or more; None if it is missing or
        unreadable.

        A date counts from the server's own `Date` if it sends one, because our clock may differ.
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
    """`url` below `base_url`: `/workers` of `https://h/api/v1` is `https://h/api/v1/workers`."""
    if urlsplit(url).scheme:
        return url
    if url.startswith("//"):
        return urljoin(base_url, url)
    return base_url.rstrip("/") + "/" + url.lstrip("/")


def resolve(url: str, link: str) -> str:
    """The absolute address of `link` on a page at `url`. Raises ValueError if it is no address."""
    address = urljoin(url, link)
    _ = urlsplit(address).port  # urlsplit checks the port only when it is read
    return address


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of `url`."""
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def without_query(url: str) -> str:
    """`url` for an error text: without query, fragment and credentials."""
    scheme, host, _ = origin(url)
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{scheme}://{host}{port}{parts.path}"


def with_params(url: str, params: Mapping[str, ParamValue]) -> str:
    """`url` with `params` in its query. The spelling of its other parameters does not change."""
    if not params:
        return url
    parts = urlsplit(url)
    kept = [part for part in parts.query.split("&") if part and unquote_plus(part.partition("=")[0]) not in params]
    query = "&".join([*kept, *(query_part(name, str(value)) for name, value in params.items())])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))


def query_part(name: str, value: str, safe: str = "") -> str:
    """`name=value`, percent-encoded by RFC 3986: a space is `%20`, because some servers do not read `+` as a space.

    `$` is not encoded in the name (OData needs it), nor are the characters of `safe` in the value.
    """
    return f"{quote(name, safe='$')}={quote(value, safe=safe)}"
