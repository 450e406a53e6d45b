"""What goes wrong with an HTTP API, on request: the next N answers of `/workers` are spoilt in a named way."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Response(NamedTuple):
    """An answer. `declared_length` differs from the body's only where a fault wants it to."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    declared_length: int | None = None


def json_response(status: int, value: object, *headers: tuple[str, str]) -> Response:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, body, (("Content-Type", "application/json"), *headers))


def throttled(retry_after_s: int) -> Response:
    return json_response(429, {"error": "too many requests"}, ("Retry-After", str(retry_after_s)))


def server_error() -> Response:
    return json_response(500, {"error": "internal error"})


def _login_page() -> Response:
    page = b"<!DOCTYPE html><html><title>Sign in</title><body>Please sign in.</body></html>"
    return Response(200, page, (("Content-Type", "text/html; charset=utf-8"),))


def _short_body(answer: Response) -> Response:
    """The connection ends before the length that was promised."""
    return answer._replace(body=answer.body[: len(answer.body) * 2 // 3], declared_length=len(answer.body))


def _cut_json(answer: Response) -> Response:
    """A whole HTTP message whose JSON is not whole."""
    return answer._replace(body=answer.body[: len(answer.body) * 2 // 3])


def _keyless(answer: Response) -> Response:
    """The page's first record has lost its id."""
    page = json.loads(answer.body)
    for record in page.get("data", [])[:1]:
        record.pop("id", None)
    return json_response(answer.status, page)


def _empty(answer: Response) -> Response:
    """A source that suddenly answers that it has no records."""
    return json_response(200, {"data": [], "links": {"next": None}})


FAULTS: dict[str, Callable[[Response], Response]] = {
    "error": lambda answer: server_error(),
    "throttle": lambda answer: throttled(1),
    "html": lambda answer: _login_page(),
    "short_body": _short_body,
    "cut_json": _cut_json,
    "keyless": _keyless,
    "empty": _empty,
}


class FaultQueue:
    """Faults to come, oldest first; each spoils one answer."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()

    def add(self, kind: str, count: int) -> None:
        """Raises KeyError for a kind that FAULTS does not know."""
        FAULTS[kind]
        self._waiting.extend([kind] * count)

    def clear(self) -> None:
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    def spoil(self, answer: Response) -> Response:
        try:
            kind = self._waiting.popleft()
        except IndexError:
            return answer
        return FAULTS[kind](answer)
