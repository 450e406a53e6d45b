"""Hints: members and headers of a page which say that more records follow, or that none follow.

Every API names them differently. Sluice never requests a page because of a hint. The poller compares the hints with the
stream's declared paging: if the paging ends at a page with a hint that more records follow, there is a fault instead of
a listing that lacks records. A hint contains a name and a count, never another value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sluice import json_text
from sluice.connector.messages import Response
from sluice.connector.paging import next_in_header

DEPTH_MAX = 4
MEMBERS_MAX = 500
LINK_LIST_BYTES_MAX = 4_096

# The known names of members and headers, in lower case and without all characters but letters and digits.
_TO = "page|link|url|uri|href|token|cursor|offset|skip|start|marker|key|results?|records?|batch|id|number"
_NEXT = re.compile(
    rf"(odata|opensearch|links?|pages?)?next({_TO})*|continu(e|ation)(token|key|url|link)?|lastevaluatedkey"
)
_TOKEN = {"cursor", "endcursor"}
_MORE = {"hasmore", "hasnext", "hasnextpage", "hasmoreitems", "hasmoreresults", "hasmoredata", "hasmorepages", "more"}
_MORE |= {"moreresults", "moreavailable", "moredata", "istruncated", "truncated"}
_LAST = {"islast", "islastpage", "lastpage", "last", "done", "endofstream", "endofresults"}
_TOTAL = re.compile(r"(opensearch)?total(count|records|results|items|elements|size|hits|rows)?|odatacount|numfound")
_PAGES = {"totalpages", "pagecount", "pages", "lastpage", "numpages", "numberofpages", "pagestotal"}
_ERRORS = {"error", "errors", "fault", "faults", "exception", "exceptions", "errormessage", "errorcode"}
_ERRORS |= {"incomplete", "incompleteresults", "partial", "partialresults", "timedout"}
_AMBIGUOUS = {"count", "links", "offset"}
_KNOWN = _MORE | _LAST | _PAGES | _ERRORS | _TOKEN | _AMBIGUOUS
_NO_ERROR = {"0", "00", "000", "0000", "ok", "none", "null", "false", "success", "no error"}
_RANGE = re.compile(r"\w+ (?:\d+-\d+|\*)/(\d{1,15})|(?:\d+-\d+|\*)/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class PagingHints:
    """The hints on one page, each as the name of a member or header; empty or None if the page has no such hint.

    `more`: says that more records follow. `token`: either says that more records follow, or says where the next poll
    starts. `end`: whether a member says that no more records follow.
    `total`: the name and its count of all records. `floor`: the name and its count, of all records or of this page's.
    `pages`: the name and its count of pages. `errors`: reports a failure.
    `odata`: whether the page is of OData, in which only the last page has no link.
    """

    more: str = ""
    token: str = ""
    end: bool = False
    total: tuple[str, int] | None = None
    floor: tuple[str, int] | None = None
    pages: tuple[str, int] | None = None
    errors: str = ""
    odata: bool = False


def paging_hints(response: Response, ignored: Collection[str] = ()) -> PagingHints:
    """The hints in `response`. Members and headers in `ignored` are no hints; a member is named by its dotted path."""
    found: dict[str, Any] = {}
    for where, name, raw in _members(response.body):
        if name.startswith(("@odata.", "odata.")):
            found["odata"] = True
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        if where not in ignored and _is_hint(plain):
            for kind, what in _hints_of(plain, _value(raw), where):
                found.setdefault(kind, what)
    for kind, what in _in_headers(response, {name.lower() for name in ignored}):
        found.setdefault(kind, what)
    return PagingHints(**found)


def _in_headers(response: Response, ignored: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The hints in the headers of `response`: `Link`, `Content-Range`, and headers such as `X-Next-Page`."""
    if "link" not in ignored and next_in_header(response) is not None:
        yield "more", "the Link header"
    for name, text in response.headers.items():
        plain = re.sub(r"[^a-z0-9]", "", name.removeprefix("x-"))
        if name in ignored or not text:
            continue
        if name == "content-range" and (total := _RANGE.fullmatch(text)):
            yield "total", (f"the header {name}", int(total[1] or total[2]))
        elif name.startswith("x-") and _is_hint(plain) and plain not in _ERRORS:
            value = {"true": True, "false": False}.get(text.lower(), text)
            yield from _hints_of(plain, value, f"the header {name}")


def _is_hint(plain: str) -> bool:
    return plain in _KNOWN or bool(_NEXT.fullmatch(plain) or _TOTAL.fullmatch(plain))


def _hints_of(plain: str, value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The hints of one member or header, as pairs of a field of `PagingHints` and its value.

    `plain`: its name in lower case, with letters and digits only. `where`: its name for error texts.
    """
    if _leads_on(plain, value):
        yield "more", where
    if plain in _TOKEN and value and isinstance(value, str | int):
        yield "token", where
    if (plain in _MORE and value is False) or (plain in _LAST and value is True):
        yield "end", True
    if plain in _ERRORS and value and not (isinstance(value, str) and value.lower() in _NO_ERROR):
        yield "errors", where
    count = _count(value)
    if count is not None:
        counted = {"total": _TOTAL.fullmatch(plain), "floor": plain == "count", "pages": plain in _PAGES}
        yield from ((kind, (where, count)) for kind, fits in counted.items() if fits)


def _leads_on(plain: str, value: Any) -> bool:
    if plain in _MORE:
        return value is True
    if plain in _LAST:
        return value is False
    if plain == "links":
        return isinstance(value, list) and any(_is_next(one) for one in value)
    if plain == "offset":
        return isinstance(value, str) and bool(value) and _count(value) is None  # a token
    if not _NEXT.fullmatch(plain):
        return False
    if isinstance(value, dict) and plain != "lastevaluatedkey":
        return bool(value.get("href") or value.get("url"))
    return bool(value) and not isinstance(value, list)


def _is_next(link: Any) -> bool:
    return isinstance(link, dict) and link.get("rel") == "next" and bool(link.get("href") or link.get("url"))


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)  # a count may be a text: OData 2 writes "__count":"230"
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _value(raw: bytes) -> Any:
    """The decoded JSON of `raw`; True if it has more than LINK_LIST_BYTES_MAX bytes, None if it is not JSON."""
    if len(raw) > LINK_LIST_BYTES_MAX:
        return True
    try:
        return json_text.decode(raw)
    except json_text.NotJson:
        return None


def _members(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """The dotted path, the name and the JSON of each member of `body` and of its nested objects, but not in arrays."""
    waiting: list[tuple[str, bytes]] = [("", body)]
    left, depth = MEMBERS_MAX, 0
    while waiting and depth < DEPTH_MAX:
        deeper: list[tuple[str, bytes]] = []
        for place, text in waiting:
            if text.lstrip()[:1] != b"{":
                continue
            for name, raw in json_text.members(text).items():
                where = f"{place}.{name}" if place else name
                yield where, name, raw
                deeper.append((where, raw))
                left -= 1
                if not left:
                    return
        waiting, depth = deeper, depth + 1
