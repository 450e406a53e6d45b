"""The HR API: requests in, responses out; no sockets here.

POST /oauth/token                       client credentials → a token that expires
GET  /workers?updated_from=&limit=      a page of workers, oldest change first; `links.next` leads on
GET  /workers/{id}                      one worker
GET  /health
*    /_admin/…                          for tests and the demo; loopback only, no token (see `_admin`)
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from .directory import Directory, Stamp
from .editor import Editor, Step
from .faults import FAULTS, FaultQueue, Response, json_response, server_error, throttled
from .gate import OAuthRefusal, RateLimit, Tokens

LIMIT_DEFAULT, LIMIT_MAX = 100, 500


class Request(NamedTuple):
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    from_loopback: bool


class BadRequest(Exception):
    """The caller's mistake, answered with 400."""


class Api:
    """Routes requests; `base_url` is what absolute links begin with."""

    def __init__(self, directory: Directory, editor: Editor, tokens: Tokens, limit: RateLimit, chaos: Random) -> None:
        self._directory = directory
        self._editor = editor
        self._tokens = tokens
        self._limit = limit
        self._chaos = chaos
        self._faults = FaultQueue()
        self._answers: Counter[int] = Counter()
        self.error_rate = 0.0
        self.base_url = ""

    def answer(self, request: Request) -> Response:
        """Never raises for what a caller sent."""
        try:
            response = self._route(request)
        except OAuthRefusal as refusal:
            challenge = ("WWW-Authenticate", f'Bearer error="{refusal.error}"')
            response = json_response(refusal.status, {"error": refusal.error}, challenge)
        except BadRequest as mistake:
            response = json_response(400, {"error": str(mistake)})
        self._answers[response.status] += 1
        return response

    def _route(self, request: Request) -> Response:
        path = urlsplit(request.target).path
        if path == "/health" and request.method in ("GET", "HEAD"):
            return json_response(200, {"status": "ok"})
        if path == "/oauth/token" and request.method == "POST":
            token = self._tokens.issue(request.headers.get("Authorization", ""), request.body)
            return json_response(200, token, ("Cache-Control", "no-store"))
        if path.startswith("/_admin/") and request.from_loopback:
            return self._admin(request.method, path.removeprefix("/_admin/"), request.body)
        if path == "/workers" or path.startswith("/workers/"):
            return self._workers(request, path)
        return json_response(404, {"error": "not found"})

    def _workers(self, request: Request, path: str) -> Response:
        self._tokens.check(request.headers)
        if request.method not in ("GET", "HEAD"):
            return json_response(405, {"error": "read only"}, ("Allow", "GET, HEAD"))
        if wait_s := self._limit.wait_s():
            return throttled(wait_s)
        if self._chaos.random() < self.error_rate:
            return server_error()
        if path == "/workers":
            return self._faults.spoil(self._page(urlsplit(request.target).query))
        body = self._directory.get(unquote(path.removeprefix("/workers/")))
        return self._faults.spoil(Response(200, body) if body else json_response(404, {"error": "no such worker"}))

    def _page(self, query: str) -> Response:
        asked = {key: values[-1] for key, values in parse_qs(query).items()}
        if unknown := asked.keys() - {"updated_from", "limit", "cursor"}:
            raise BadRequest(f"unknown parameter {sorted(unknown)[0]}")
        limit = _limit(asked.get("limit", str(LIMIT_DEFAULT)))
        after = _stamp(asked["cursor"]) if "cursor" in asked else None
        records, stopped_at = self._directory.page(_microseconds(asked.get("updated_from")), after, limit)
        following = None
        if stopped_at:
            following = f"{self.base_url}/workers?" + urlencode({"limit": limit, "cursor": _cursor(stopped_at)})
        links = json.dumps({"next": following}).encode()
        return Response(200, b'{"data":[' + b",".join(records) + b'],"links":' + links + b"}")

    def _admin(self, method: str, path: str, body: bytes) -> Response:
        """What tests and the demo may do: see README.md of the example for the list."""
        if match := re.fullmatch(r"workers/([^/]+)", path):
            return self._admin_worker(method, unquote(match[1]), body)
        if (match := re.fullmatch(r"workers/([^/]+)/earlier", path)) and method == "GET":
            return Response(200, b"[" + b",".join(self._directory.earlier(unquote(match[1]))) + b"]")
        if method == "POST" and path == "step":
            return _step(self._editor.step())
        if method == "GET" and path == "stats":
            return json_response(200, self._stats())
        actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "freeze": lambda asked: self._editor.freeze(bool(asked.get("frozen", True))),
            "faults": self._add_faults,
            "expire-tokens": lambda asked: self._tokens.revoke_all(),
        }
        if method != "POST" or path not in actions:
            return json_response(404, {"error": "not found"})
        actions[path](_object(body))
        return json_response(200, self._stats())

    def _admin_worker(self, method: str, worker_id: str, body: bytes) -> Response:
        if method == "PUT":
            return Response(200, self._directory.hire(worker_id, _object(body)))
        found: bytes | None
        if method == "POST":
            found = self._edited(worker_id, body)
        elif method == "DELETE":
            found = json.dumps({"id": worker_id}).encode() if self._directory.delete(worker_id) else None
        else:
            found = self._directory.get(worker_id)
        return Response(200, found) if found else json_response(404, {"error": "no such worker"})

    def _edited(self, worker_id: str, body: bytes) -> bytes | None:
        try:
            return next(iter(self._directory.edit({worker_id: _object(body)})), None)
        except (TypeError, UnicodeEncodeError):
            raise BadRequest("members are JSON values; $remove is a list of member names") from None

    def _add_faults(self, asked: dict[str, Any]) -> None:
        kind, count = asked.get("kind"), asked.get("count", 1)
        if kind == "none":
            self._faults.clear()
        elif kind in FAULTS and isinstance(count, int):
            self._faults.add(kind, count)
        else:
            raise BadRequest(f"kind is one of {', '.join(FAULTS)}, none; count a number")

    def _stats(self) -> dict[str, Any]:
        return {
            "workers": len(self._directory),
            "changes": self._directory.counter("changes"),
            "frozen": self._editor.frozen,
            "faults_waiting": len(self._faults),
            "answers": {str(status): count for status, count in sorted(self._answers.items())},
        }


def _step(step: Step) -> Response:
    changed, deleted = (b"[" + b",".join(records) + b"]" for records in step[1:])
    return Response(200, b'{"kind":"%s","changed":%s,"deleted":%s}' % (step.kind.encode(), changed, deleted))


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    return value


def _limit(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= LIMIT_MAX):
        raise BadRequest(f"limit is a number from 1 to {LIMIT_MAX}")
    return int(text)


def _microseconds(text: str | None) -> int:
    """The instant that `text` (RFC 3339) names, as microseconds since 1970; the beginning of time without one."""
    if text is None:
        return -(2**62)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest("updated_from is an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise BadRequest("updated_from has no time zone")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _cursor(stamp: Stamp) -> str:
    return base64.urlsafe_b64encode(f"{stamp.updated_us}/{stamp.id}".encode()).decode().rstrip("=")


def _stamp(cursor: str) -> Stamp:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        updated_us, _, worker_id = base64.urlsafe_b64decode(padded).decode().partition("/")
        return Stamp(int(updated_us), worker_id)
    except ValueError:
        raise BadRequest("this cursor is not one of ours") from None
