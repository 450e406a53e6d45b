"""Exchanges with a real server that misbehaves: every bound is kept, every error is safe to log."""

from __future__ import annotations

import gzip
import logging
import threading
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from typing import ClassVar

import pytest
from pydantic import SecretStr

from sluice.connector import (
    Auth,
    Connector,
    ConnectorSettings,
    Door,
    Limits,
    Login,
    OAuth2ClientCredentials,
    Request,
    SessionAuth,
)
from sluice.connector.fetch import Fetcher, failure
from sluice.errors import EnvironmentFault, Transient
from support.scripted_source import Answer, Asked, ScriptedSource, in_turn, scripted_source

SECRET = "s3cret-text"
TOKEN = b'{"access_token":"t%d","token_type":"Bearer","expires_in":3600}'


class Settings(ConnectorSettings):
    client_secret: SecretStr = SecretStr(SECRET)


class Open(Connector[Settings]):
    limits: ClassVar = Limits(body_bytes_max=1_000_000, deadline_s=1.0, read_timeout_s=0.5)


class WithOAuth(Open):
    limits: ClassVar = Limits(deadline_s=30.0)

    def auth(self) -> Auth:
        return OAuth2ClientCredentials("/token", "sluice", self.settings.client_secret)


@pytest.fixture
def source() -> Iterator[ScriptedSource]:
    with scripted_source(in_turn(Answer(b'{"data":[]}'))) as running:
        yield running


@pytest.fixture
def fetcher(source: ScriptedSource) -> Iterator[Fetcher]:
    opened = Open("hr", {"base_url": source.url}).fetcher()
    yield opened
    opened.close()


def get(fetcher: Fetcher, url: str = "/workers?api_key=k1") -> Exception:
    with pytest.raises((Transient, EnvironmentFault)) as refusal:
        fetcher.fetch(Request.get(url))
    assert "k1" not in str(refusal.value)
    assert SECRET not in str(refusal.value)
    return refusal.value


def test_an_answer_is_whole_and_decompressed(source: ScriptedSource, fetcher: Fetcher) -> None:
    body = b'{"data":[' + b",".join(b'{"id":%d}' % i for i in range(1000)) + b"]}"
    two_members = gzip.compress(body[:500]) + gzip.compress(body[500:])
    padded = gzip.compress(body[:500]) + bytes(3) + gzip.compress(body[500:]) + bytes(100_000)
    for packed in (gzip.compress(body), two_members, padded):
        source.script = in_turn(Answer(packed, headers={"Content-Encoding": "gzip"}))
        response = fetcher.fetch(Request.get("/workers"))
        assert (response.status, response.body) == (200, body)
        assert "content-encoding" not in response.headers


def test_a_gzip_bomb_is_refused_before_it_fills_memory(source: ScriptedSource, fetcher: Fetcher) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([packer.compress(bytes(1_000_000)) for _ in range(200)] + [packer.flush()])
    assert len(bomb) < 500_000
    source.script = in_turn(Answer(bomb, headers={"Content-Encoding": "gzip"}))
    assert "exceeds body_bytes_max" in str(get(fetcher))


def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not(source: ScriptedSource, fetcher: Fetcher) -> None:
    def endless(wire: BufferedIOBase) -> None:
        wire.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            wire.write(bytes(65_536))

    for answer in (Answer(bytes(1_000_001)), endless):
        source.script = in_turn(answer)
        assert "exceeds body_bytes_max" in str(get(fetcher))


@pytest.mark.parametrize("within", ["headers", "body"])
def test_a_drip_ends_at_the_deadline(source: ScriptedSource, fetcher: Fetcher, within: str) -> None:
    done = threading.Event()

    def drip(wire: BufferedIOBase) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
        wire.write(head if within == "headers" else head + b"\r\n")
        while not done.wait(0.1):
            wire.write(b"X-Drip: drop\r\n" if within == "headers" else b" ")
            wire.flush()

    source.script = in_turn(drip)
    error = get(fetcher)  # without a deadline it would drip for hours
    done.set()
    assert "no whole answer within the deadline" in str(error)


def test_a_body_that_is_cut_off_is_no_answer(source: ScriptedSource, fetcher: Fetcher) -> None:
    packed = gzip.compress(bytes(range(256)) * 100)
    for answer in (
        Answer(b'{"data":[', length=500),
        Answer(packed[:-20], headers={"Content-Encoding": "gzip"}),
        Answer(b"plain", headers={"Content-Encoding": "gzip"}),
        Answer(packed + b"\0junk", headers={"Content-Encoding": "gzip"}),
        Answer(b"?", headers={"Content-Encoding": "br"}),
    ):
        source.script = in_turn(answer)
        assert isinstance(get(fetcher), Transient)


def test_a_refused_connection_is_transient(source: ScriptedSource, fetcher: Fetcher) -> None:
    source.close()
    assert "no connection" in str(get(fetcher))


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after_s"),
    [
        (429, {"Retry-After": "3"}, Transient, 3.0),
        (503, {"Retry-After": "2"}, Transient, 2.0),
        (500, {}, Transient, None),
        (403, {}, EnvironmentFault, None),
        (404, {}, EnvironmentFault, None),
    ],
)
def test_a_status_says_what_to_do_next(
    source: ScriptedSource,
    fetcher: Fetcher,
    status: int,
    headers: dict[str, str],
    kind: type[Exception],
    retry_after_s: float | None,
) -> None:
    source.script = in_turn(Answer(b"name of a person", status, headers))
    response = fetcher.fetch(Request.get("/workers?$filter=a%20gt%205&q=s3cret&api_key=k1"))
    error = failure("hr", response, ["s3cret"])
    assert isinstance(error, kind)
    assert getattr(error, "retry_after_s", None) == retry_after_s
    assert f"GET {source.url}/workers?$filter=a%20gt%205&q=[removed]&api_key=[removed]: " in str(error)
    assert "person" not in str(error)


def test_a_redirect_within_the_origin_is_followed(source: ScriptedSource, fetcher: Fetcher) -> None:
    def script(asked: Asked) -> Answer:
        return Answer(b'{"data":[]}') if asked.path == "/v2" else Answer(status=307, headers={"Location": "/v2"})

    source.script = script
    assert fetcher.fetch(Request.get("/workers")).status == 200
    source.script = in_turn(Answer(status=302, headers={"Location": "/workers"}))
    assert "redirects more than 3 times" in str(get(fetcher))


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://[::1/workers", "is no address"),
        ("http://127.0.0.1:abc/workers", "has a port that is no number from 1 to 65535"),
        ("?q=\x01", "contains a control character"),
        ("/" + "a" * 65_530, "is longer than 65535 characters"),
        ("mailto:a@b", "does not begin with http:// or https:// and the name of a host"),
    ],
)
def test_a_redirect_to_what_is_no_address_is_reported_as_that(
    source: ScriptedSource, fetcher: Fetcher, location: str, reason: str
) -> None:
    source.script = in_turn(Answer(status=302, headers={"Location": location}))
    error = get(fetcher)
    assert isinstance(error, EnvironmentFault)
    assert f"redirects to a link that is no address: it {reason}. Next: " in str(error)


@pytest.mark.parametrize("token", ["é", "a\\nb", "a ", "\\u0000"])
def test_a_token_that_no_header_can_have_is_for_an_operator_until_the_next_login(
    source: ScriptedSource, token: str
) -> None:
    text = '{"access_token":"%s-%s","expires_in":3600}'
    source.script = TokenScript(Answer((text % (SECRET, token)).encode()))
    fetcher = WithOAuth("hr", {"base_url": source.url}).fetcher()
    error = get(fetcher)
    assert isinstance(error, EnvironmentFault)
    assert "the login (OAuth2ClientCredentials) gives Authorization a character that no header can have" in error.why
    assert "check sources.hr.settings" in error.next_step
    source.script = TokenScript()
    assert fetcher.fetch(Request.get("/workers")).status == 200
    fetcher.close()


def test_credentials_never_reach_another_origin(source: ScriptedSource) -> None:
    class Keyed(SessionAuth):
        def login(self, door: Door) -> Login:
            return Login({"X-Api-Key": SECRET})

    class WithKey(Open):
        def auth(self) -> Auth:
            return Keyed()

    with scripted_source(in_turn(Answer())) as elsewhere:
        fetcher = WithKey("hr", {"base_url": source.url}).fetcher()
        source.script = in_turn(Answer(status=302, headers={"Location": f"{elsewhere.url}/workers?api_key=k1"}))
        assert "another origin" in str(get(fetcher))
        assert "another origin" in str(get(fetcher, f"{elsewhere.url}/workers?api_key=k1"))
        assert elsewhere.asked == []
        assert source.asked[0].headers["x-api-key"] == SECRET
        fetcher.close()


class TokenScript:
    """Gives tokens t1, t2, …; `/workers` takes only the newest."""

    def __init__(self, token_answer: Answer | None = None) -> None:
        self.tokens = 0
        self.revoked = 0
        self._answer = token_answer
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            with self._lock:
                self.tokens += 1
                return self._answer or Answer(TOKEN % self.tokens, headers={"Content-Type": "application/json"})
        good = asked.headers.get("authorization") == f"Bearer t{self.tokens}" and self.tokens > self.revoked
        return Answer(b'{"data":[]}') if good else Answer(b"{}", 401)


def test_fifty_threads_fetch_one_token_and_renew_it_once(source: ScriptedSource) -> None:
    source.script = script = TokenScript()
    fetcher = WithOAuth("hr", {"base_url": source.url}).fetcher()
    statuses: list[int] = []

    def fetch() -> None:
        statuses.append(fetcher.fetch(Request.get("/workers")).status)

    for tokens in (1, 2):
        threads = [threading.Thread(target=fetch) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert script.tokens == tokens
        script.revoked = script.tokens
    assert statuses == [200] * 100
    fetcher.close()


def test_a_connection_is_used_again_by_the_next_exchange_and_by_one_at_a_time(
    source: ScriptedSource, fetcher: Fetcher
) -> None:
    source.script = in_turn(Answer(b'{"data":[]}'))
    for _ in range(5):
        fetcher.fetch(Request.get("/workers"))
    assert source.connections == 1
    both_ask = threading.Barrier(2)

    def answer(asked: Asked) -> Answer:
        both_ask.wait(30)
        return Answer(b'{"data":[]}')

    source.script = answer
    threads = [threading.Thread(target=fetcher.fetch, args=[Request.get("/workers")]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b'{"error":"invalid_client","error_description":"no s3cret-text"}', 401),
        Answer(b'{"error":"s3cret-text"}', 400),
        Answer(b"<html>s3cret-text</html>", 403),
    ],
)
def test_a_wrong_secret_names_url_and_setting_and_never_the_secret(source: ScriptedSource, answer: Answer) -> None:
    source.script = TokenScript(answer)
    fetcher = WithOAuth("hr", {"base_url": source.url}).fetcher()
    error = get(fetcher)
    assert isinstance(error, EnvironmentFault)
    assert f"{source.url}/token" in error.where
    assert "sources.hr.settings.client_secret" in error.next_step
    fetcher.close()


@pytest.mark.parametrize("answer", [Answer(b"", 503), Answer(b"<html>", 200), Answer(b"{}", 200), Answer(b"[]", 200)])
def test_a_token_endpoint_in_trouble_is_transient(source: ScriptedSource, answer: Answer) -> None:
    source.script = TokenScript(answer)
    fetcher = WithOAuth("hr", {"base_url": source.url}).fetcher()
    assert isinstance(get(fetcher), Transient)
    fetcher.close()


def test_credentials_refused_although_renewed_are_for_an_operator(source: ScriptedSource) -> None:
    source.script = script = TokenScript()
    script.revoked = 1_000
    fetcher = WithOAuth("hr", {"base_url": source.url}).fetcher()
    response = fetcher.fetch(Request.get("/workers"))
    assert isinstance(failure("hr", response), EnvironmentFault)
    assert script.tokens == 2
    fetcher.close()


def test_no_log_contains_a_query_or_a_secret(source: ScriptedSource, caplog: pytest.LogCaptureFixture) -> None:
    source.script = TokenScript()
    fetcher = WithOAuth("hr", {"base_url": source.url}).fetcher()
    with caplog.at_level(logging.INFO):
        fetcher.fetch(Request.get("/workers?api_key=k1"))
    assert "k1" not in caplog.text
    assert "/token" not in caplog.text
    fetcher.close()
