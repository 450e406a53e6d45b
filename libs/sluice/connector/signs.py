"""What a page says beside its records of whether more follows: members that every other API calls differently.

Nothing is followed from here. The poller compares what a page says with what the stream's declared paging made of it,
so that a page which is taken for the last one, and says that it is not, becomes a fault instead of a short listing.
Only members' names and counts are told, never values.
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

# Names in lower case, without anything but letters and digits.
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
class Signs:
    """`more`: a member that says that more follows. `token`: one that may say so, or where the next poll begins.
    `end`: one says that nothing does. `total`: a member that counts
    all records, and its count; `floor`: one that counts them or those of this page; `pages`: one that counts pages.
    `errors`: a member that reports a failure. `odata`: the page speaks OData, whose last page has no link.
    """

    more: str = ""
    token: str = ""
    end: bool = False
    total: tuple[str, int] | None = None
    floor: tuple[str, int] | None = None
    pages: tuple[str, int] | None = None
    errors: str = ""
    odata: bool = False


def signs(response: Response, ignored: Collection[str] = ()) -> Signs:
    """What `response` says beside its records; members whose dotted names, and headers whose names are `ignored`, say
    nothing."""
    said: dict[str, Any] = {}
    for where, name, raw in _members(response.body):
        if name.startswith(("@odata.", "odata.")):
            said["odata"] = True
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        if where not in ignored and _speaks(plain):
            for kind, what in _said(plain, _value(raw), where):
                said.setdefault(kind, what)
    for kind, what in _in_headers(response, {name.lower() for name in ignored}):
        said.setdefault(kind, what)
    return Signs(**said)


def _in_headers(response: Response, ignored: Collection[str]) -> Iterator[tuple[str, Any]]:
    """What headers say: `Link`, `Content-Range`, and those of the kind of `X-Next-Page` and `X-Total-Count`."""
    if "link" not in ignored and next_in_header(response) is not None:
        yield "more", "the Link header"
    for name, text in response.headers.items():
        plain = re.sub(r"[^a-z0-9]", "", name.removeprefix("x-"))
        if name in ignored or not text:
            continue
        if name == "content-range" and (total := _RANGE.fullmatch(text)):
            yield "total", (f"the header {name}", int(total[1] or total[2]))
        elif name.startswith("x-") and _speaks(plain) and plain not in _ERRORS:
            value = {"true": True, "false": False}.get(text.lower(), text)
            yield from _said(plain, value, f"the header {name}")


def _speaks(plain: str) -> bool:
    return plain in _KNOWN or bool(_NEXT.fullmatch(plain) or _TOTAL.fullmatch(plain))


def _said(plain: str, value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """What the member at `where` says, by field of Signs."""
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
        return isinstance(value, str) and bool(value) and _count(value) is None  # a token, not the place of this page
    if not _NEXT.fullmatch(plain):
        return False
    if isinstance(value, dict) and plain != "lastevaluatedkey":
        return bool(value.get("href") or value.get("url"))
    return bool(value) and not isinstance(value, list)


def _is_next(link: Any) -> bool:
    return isinstance(link, dict) and link.get("rel") == "next" and bool(link.get("href") or link.get("url"))


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)  # OData 2 writes "__count":"230"
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _value(raw: bytes) -> Any:
    """A member's value; of a long list or object only that there is one."""
    if len(raw) > LINK_LIST_BYTES_MAX:
        return True
    try:
        return json_text.decode(raw)
    except json_text.NotJson:
        return None


def _members(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Dotted place, name and bytes of the members of `body` and of the objects within, but not of its arrays."""
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
