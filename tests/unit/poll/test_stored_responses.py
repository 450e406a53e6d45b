"""What a source repeats of its credentials is not stored with its answer."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from sluice.connector import Auth, BasicAuth, Connector, ConnectorSettings, Login, Request, Response, SessionAuth
from sluice.connector.auth import Door
from sluice_ingress_poller.records import RecordBuilder, StoredResponse, StreamNames

NAMES = StreamNames("p", "hr", "workers", "raw.hr.workers", "responses.hr", "dlq.ingress-poller")
NOWHERE = Door("hr", "https://h", lambda request: Response(request, 500, {}, b""))


class Renewed(SessionAuth):
    """Logs in with headers that contain the number of the login."""

    def __init__(self) -> None:
        super().__init__()
        self.logins = 0

    def login(self, door: Door) -> Login:
        self.logins += 1
        return Login(
            {"Authorization": f"Bearer token-{self.logins}", "Cookie": f"sid=cookie-{self.logins}; s=1; theme=dark"}
        )


class Hr(Connector[ConnectorSettings]):
    auth_used: Auth

    def auth(self) -> Auth:
        return self.auth_used


def connector(auth: Auth) -> Hr:
    hr = Hr("hr", {"base_url": "https://h"})
    hr.auth_used = auth
    return hr


def stored(hr: Hr, body: bytes) -> bytes | None:
    response = Response(Request.get("https://h/workers?next=token-1"), 400, {"x-echo": "token-1"}, body)
    record = RecordBuilder(NAMES, 1, 1, hr.secrets).response(StoredResponse.now(response, 1))
    headers: Mapping[str, bytes] = dict(record.headers)
    assert b"token-1" not in headers["http.url"] + headers["http.headers"]
    return record.value


def test_the_token_and_cookie_of_the_last_two_logins_are_removed() -> None:
    auth = Renewed()
    hr = connector(auth)
    first = auth.headers(NOWHERE)
    assert stored(hr, b"Bearer token-1, sid=cookie-1, cookie-1, s=1, dark 1") == (
        b"[removed], [removed], [removed], s=1, dark 1"
    )
    auth.forget(first)
    second = auth.headers(NOWHERE)
    assert stored(hr, b"token-1 is old, cookie-2 new") == b"[removed] is old, [removed] new"
    auth.forget(second)
    auth.headers(NOWHERE)
    assert "token-1" not in hr.secrets(), "a token that is no longer valid is forgotten"


def test_a_password_and_what_is_sent_in_its_place_are_removed() -> None:
    auth = BasicAuth("alice", SecretStr("token-1"))
    sent = auth.headers(NOWHERE)["Authorization"].removeprefix("Basic ")
    assert stored(connector(auth), f"{sent} token-1".encode()) == b"[removed] [removed]"
