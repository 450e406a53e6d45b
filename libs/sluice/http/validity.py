"""What a request cannot be sent with: an address or a header that HTTP does not allow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx2

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # the characters of RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?")
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
URL_LENGTH_MAX = 65_535  # of httpx2
_LABEL_BYTES_MAX = 63
_HOST_BYTES_MAX = 253


def is_header_name(name: str) -> bool:
    return bool(_HEADER_NAME.fullmatch(name))


def is_header_value(value: str) -> bool:
    """Whether `value` can be sent as it is: printable ASCII without a space at its start or end. Empty is allowed."""
    return not value or bool(_HEADER_VALUE.fullmatch(value))


def unsendable_header(headers: Mapping[str, str]) -> str | None:
    """The name of the first header that HTTP does not allow; None if it allows all `headers`."""
    return next(
        (name for name, value in headers.items() if not (is_header_name(name) and is_header_value(value))), None
    )


def url_problem(url: str) -> str:
    """Why no request can be sent to the absolute `url`, as the end of a sentence; empty if one can. Quotes nothing."""
    if len(url) > URL_LENGTH_MAX:
        return f"is longer than {URL_LENGTH_MAX} characters"
    if _CONTROL.search(url):
        return "contains a control character"
    if _SURROGATE.search(url):
        return "contains half of a surrogate pair"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return "has a port that is no number from 1 to 65535" if "port" in str(error).lower() else "is no address"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "does not begin with http:// or https:// and the name of a host"
    if port == 0:
        return "has a port that is no number from 1 to 65535"
    try:
        host = httpx2.URL(url).raw_host
    except httpx2.InvalidURL:
        return "has a host whose name is not valid"
    if b"%" in host or len(host) > _HOST_BYTES_MAX:
        return "has a host whose name is not valid"
    if any(not 0 < len(label) <= _LABEL_BYTES_MAX for label in host.removesuffix(b".").split(b".")):
        return f"has a host whose name has an empty part, or one of more than {_LABEL_BYTES_MAX} characters"
    return ""
