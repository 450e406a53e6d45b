"""What goes to a source and what comes back, as plain values: authors of odd APIs build and read these."""

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
    """One request. `url` may be relative to the connector's `base_url`; credentials are added later, by `auth`."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @classmethod
    def get(cls, url: str, params: Mapping[str, ParamValue] | None = None) -> Request:
        """A GET of `url`; `params` join the query it already has, replacing those of the same name."""
        return cls("GET", with_params(url, params or {}))

    @classmethod
    def post_json(cls, url: str, payload: Any) -> Request:
        """A POST of `payload` as JSON."""
        return cls("POST", url, {"Content-Type": "application/json"}, json_text.encode(payload))

    def at(self, base_url: str) -> Request:
        """The same request with an absolute URL."""
        return replace(self, url=absolute(base_url, self.url))

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        return replace(self, headers={**self.headers, **headers})


@dataclass(frozen=True)
class Response:
    """An answer, whole: header names in lower case, body decompressed and within the connector's bounds."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body as a value; raises NotJson, which refuses the page."""
        return json_text.decode(self.body)

    def slices(self, path: json_text.Path) -> list[bytes]:
        """The records in the array at `path` ("" = the body), each as the bytes that the source sent.

        Raises NotJson or Missing, which refuse the page.
        """
        return json_text.slices(self.body, path)

    @property
    def server_time(self) -> datetime | None:
        """The server's own clock (header Date), None where it does not send one."""
        try:
            found = parsedate_to_datetime(self.headers["date"])
        except (KeyError, ValueError):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)


def absolute(base_url: str, url: str) -> str:
    """`url` below `base_url`: `/workers` of `https://h/api/v1` is `https://h/api/v1/workers`."""
    if urlsplit(url).scheme:
        return url
    if url.startswith("//"):
        return urljoin(base_url, url)
    return base_url.rstrip("/") + "/" + url.lstrip("/")


def joined(url: str, link: str) -> str:
    """The address that `link`, met at `url`, means. Raises ValueError for one that cannot be read."""
    address = urljoin(url, link)
    _ = urlsplit(address).port  # it is read, and refused, only when it is asked for
    return address


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: who is spoken to."""
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def without_query(url: str) -> str:
    """`url` as it may stand in an error: no query, no fragment, no credentials."""
    scheme, host, _ = origin(url)
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{scheme}://{host}{port}{parts.path}"


def with_params(url: str, params: Mapping[str, ParamValue]) -> str:
    """`url` with `params` in its query; what the query holds already stays as it is spelled."""
    if not params:
        return url
    parts = urlsplit(url)
    kept = [part for part in parts.query.split("&") if part and unquote_plus(part.partition("=")[0]) not in params]
    query = "&".join([*kept, *(query_part(name, str(value)) for name, value in params.items())])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))


def query_part(name: str, value: str, safe: str = "") -> str:
    """`name=value`, percent-encoded as RFC 3986 has it: a space is `%20`, since not every server reads `+` as one.

    `$` stays in the name, where OData has it; characters of `safe` stay in the value.
    """
    return f"{quote(name, safe='$')}={quote(value, safe=safe)}"
