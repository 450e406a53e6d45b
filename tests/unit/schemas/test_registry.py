"""The registry's client against a small HTTP server: what is remembered, what is refused, what is bounded."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sluice.errors import DeadRecord, EnvironmentFault
from sluice.schemas import Registry

SCHEMA: dict[str, Any] = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}


class Answers:
    """A registry that answers what the test says, by method and path."""

    def __init__(self) -> None:
        self.by_path: dict[str, tuple[int, bytes]] = {}
        self.not_yet = 0  # so many requests are answered with 503 first
        self.authorization: str | None = None  # of the newest request
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.authorization = self.headers.get("authorization")
                status, body = outer.by_path.get(f"{self.command} {self.path}", (404, b'{"error_code":40401}'))
                if outer.not_yet:
                    outer.not_yet -= 1
                    status, body = 503, b""
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - the server's names

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def answers() -> Iterator[Answers]:
    made = Answers()
    yield made
    made.stop()


def _knowing(answers: Answers) -> None:
    answers.by_path["POST /api/subjects/s-value"] = (200, b'{"id":7}')
    answers.by_path["GET /api/schemas/ids/7"] = (200, json.dumps({"schema": json.dumps(SCHEMA)}).encode())


def test_remembered_schemas_serve_while_the_registry_is_silent(answers: Answers, tmp_path: Path) -> None:
    _knowing(answers)
    registry = Registry(answers.url, tmp_path)
    assert registry.lookup_id("s-value", SCHEMA) == 7
    answers.stop()
    again = Registry(answers.url, tmp_path)
    assert again.lookup_id("s-value", SCHEMA) == 7
    assert again.by_id(7) == SCHEMA


def test_nothing_remembered_and_no_answer_is_a_fault_that_names_the_place(answers: Answers, tmp_path: Path) -> None:
    answers.stop()
    registry = Registry(answers.url.replace("http://", "http://user:secret@"), tmp_path)
    with pytest.raises(EnvironmentFault, match="no answer") as fault:
        registry.lookup_id("s-value", SCHEMA)
    assert "127.0.0.1" in str(fault.value)
    assert "secret" not in str(fault.value)
    with pytest.raises(EnvironmentFault):
        registry.by_id(7)


def test_a_registry_that_forgot_is_believed_rather_than_what_is_remembered(answers: Answers, tmp_path: Path) -> None:
    _knowing(answers)
    registry = Registry(answers.url, tmp_path)
    registry.lookup_id("s-value", SCHEMA)
    answers.by_path.clear()
    with pytest.raises(EnvironmentFault, match="sluice schemas apply"):
        registry.lookup_id("s-value", SCHEMA)
    with pytest.raises(DeadRecord, match="no schema 7"):
        registry.by_id(7)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (200, b"<html>log in</html>"),
        (200, b"[]"),
        (200, b"x" * (5 * 1024 * 1024)),
    ],
)
def test_an_answer_that_is_none_counts_as_no_answer(answers: Answers, tmp_path: Path, status: int, body: bytes) -> None:
    answers.by_path["POST /api/subjects/s-value"] = (status, body)
    with pytest.raises(EnvironmentFault, match="no answer"):
        Registry(answers.url, tmp_path).lookup_id("s-value", SCHEMA)


def test_an_incompatible_schema_is_refused_by_name(answers: Answers, tmp_path: Path) -> None:
    answers.by_path["POST /api/subjects/s-value/versions"] = (409, b'{"error_code":409,"message":"secret"}')
    with pytest.raises(EnvironmentFault, match="s-value is incompatible") as fault:
        Registry(answers.url, tmp_path).register("s-value", SCHEMA)
    assert "secret" not in str(fault.value)


def test_a_damaged_memory_is_no_memory(answers: Answers, tmp_path: Path) -> None:
    _knowing(answers)
    Registry(answers.url, tmp_path).lookup_id("s-value", SCHEMA)
    for file in tmp_path.iterdir():
        file.write_bytes(b"{")
    answers.stop()
    with pytest.raises(EnvironmentFault):
        Registry(answers.url, tmp_path).lookup_id("s-value", SCHEMA)


def test_a_registry_that_is_slow_to_start_is_asked_again_for_as_long_as_its_caller_says(
    answers: Answers, tmp_path: Path
) -> None:
    answers.by_path["POST /api/subjects/s-value/versions"] = (200, b'{"id":7}')
    answers.not_yet = 2
    assert Registry(answers.url, tmp_path, retry_for_s=30.0).register("s-value", SCHEMA) == 7
    answers.not_yet = 1
    with pytest.raises(EnvironmentFault, match="no answer"):
        Registry(answers.url, tmp_path).register("s-value", SCHEMA)


def test_user_and_password_of_the_address_sign_each_request(answers: Answers, tmp_path: Path) -> None:
    _knowing(answers)
    url = answers.url.replace("http://", "http://alice:a%20b@")
    assert Registry(url, tmp_path).lookup_id("s-value", SCHEMA) == 7
    assert answers.authorization == "Basic " + b64encode(b"alice:a b").decode()
