"""The workforce example under test: its HR server as a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from examples.workforce.departments import end, start_hr
from sluice.http import tls_context
from support.pace import within

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "workforce"
SECRET = "only-for-this-test"


class HrClient:
    """A client of a running HR server: of its API, and of its admin paths."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.Client(base_url=url, timeout=within(30), verify=tls_context())

    def token(self, secret: str = SECRET) -> httpx2.Response:
        return self.http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("sluice", secret))

    def sign_in(self) -> HrClient:
        self.http.headers["Authorization"] = f"Bearer {self.token().json()['access_token']}"
        return self

    def get(self, url: str = "/workers", **params: str | int) -> httpx2.Response:
        return self.http.get(url, params=params or None)

    def admin(self, path: str, **body: Any) -> Any:
        """POST to an admin path. Returns the JSON of the answer."""
        return self.http.post(f"/_admin/{path}", json=body).raise_for_status().json()

    def hire(self, worker_id: str, **members: Any) -> Any:
        """Create a worker with exactly these members. Returns the record."""
        return self.http.put(f"/_admin/workers/{worker_id}", json=members).raise_for_status().json()

    def pages(self, limit: int = 200, **params: str) -> Iterator[list[dict[str, Any]]]:
        """Every page from the first on. Fails at any status but 200."""
        answer = self.get(limit=limit, **params).raise_for_status().json()
        yield answer["data"]
        while answer["links"]["next"]:
            answer = self.get(answer["links"]["next"]).raise_for_status().json()
            yield answer["data"]

    def all(self, limit: int = 200, **params: str) -> list[dict[str, Any]]:
        return [record for page in self.pages(limit, **params) for record in page]


@contextmanager
def hr_server(directory: Path, arguments: Sequence[str]) -> Iterator[HrClient]:
    """Run an HR server with these arguments while the block runs. The client is not signed in."""
    process, url = start_hr(directory, SECRET, arguments)
    client = HrClient(url)
    try:
        yield client
    finally:
        client.http.close()
        end(process)
