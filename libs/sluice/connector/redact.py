"""Removes secrets from requests and responses that are stored or logged.

A secret is recognised by the name of its parameter or header, or because its value is known.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit, urlunsplit

from sluice.connector.messages import query_part

REMOVED = "[removed]"
# A secret with fewer characters is not removed, because such a text occurs everywhere by chance.
SECRET_LENGTH_MIN = 4
_SECRET_NAME = re.compile(
    r"(?i)(^|[-_.])(api[-_]?key|key|token|secret|passw(or)?d|pwd|sig(nature)?|auth(orization)?|cookie|session([-_]?id)?"
    r"|credentials?|code|assertion|authenticat(e|ion)(-info)?)($|[-_.])"
)
_PERCENT = re.compile("%[0-9A-F]{2}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_secret_name(name: str) -> bool:
    """Whether a query parameter or header with this `name` contains a secret."""
    return bool(_SECRET_NAME.search(_CAMEL.sub("_", name)))


def safe_url(url: str, secrets: Collection[str] = ()) -> str:
    """`url` without secrets: without the values of secret parameters, the texts in `secrets`, and a user's name and
    password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(
        query_part(name, REMOVED if is_secret_name(name) else without(value, secrets), safe="[]:/,")
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    return urlunsplit((parts.scheme, host, without(parts.path, secrets), query, ""))


def safe_headers(headers: Mapping[str, str], secrets: Collection[str] = ()) -> dict[str, str]:
    """`headers` without those whose name says that they contain a secret. The texts in `secrets` are removed from the
    others."""
    return {name: without(value, secrets) for name, value in headers.items() if not is_secret_name(name)}


def without(text: str, secrets: Collection[str]) -> str:
    """`text`, with `[removed]` in place of every text in `secrets`."""
    for secret in removable(secrets):
        text = text.replace(secret, REMOVED)
    return text


def removable(secrets: Collection[str]) -> list[str]:
    """The texts to remove for `secrets`, in each spelling in which a source may repeat a secret, the longest first.

    Secrets with fewer than SECRET_LENGTH_MIN characters are left out. The longest comes first, because a text may
    contain another one.
    """
    spelled = {one for secret in secrets if len(secret) >= SECRET_LENGTH_MIN for one in _spellings(secret)}
    return sorted(spelled, key=len, reverse=True)


def _spellings(secret: str) -> Iterator[str]:
    """The spellings of `secret`: as it is, in JSON, in HTML, percent-encoded, and in base64."""
    yield secret
    for in_json in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield in_json
        yield in_json.replace("/", "\\/")
    yield html.escape(secret)
    for encoded in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield encoded
        yield _PERCENT.sub(lambda byte: byte[0].lower(), encoded)
    yield base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode().rstrip("=")
