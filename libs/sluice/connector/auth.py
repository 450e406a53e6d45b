"""Authentication of requests to a source by headers. Threads that need the same login wait for it and share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from sluice.connector.messages import Request, Response
from sluice.connector.redact import is_secret_name
from sluice.errors import SettingsError
from sluice.http import basic_credentials, is_header_name, is_header_value

COOKIE_LENGTH_MIN = 8
_OF_HTTP = frozenset({"host", "connection", "content-length", "content-type", "te", "trailer", "transfer-encoding"})
TOKEN_LENGTH_MIN = 16


@dataclass(frozen=True)
class Door:
    """What the code of a login can use to reach its source.

    `source`: the source's name. `send`: sends a request within the connector's limits, without credentials, and returns
    the response of any status. It raises Transient if no whole response arrives.
    """

    source: str
    base_url: str
    send: Callable[[Request], Response]

    def setting(self, name: str) -> str:
        """The full name of the setting `name` of the connector, for error texts: `sources.<source>.settings.<name>`."""
        return f"sources.{self.source}.settings.{name}"


class Auth(Protocol):
    """The credentials of a source's requests, as headers."""

    def headers(self, door: Door) -> Mapping[str, str]:
        """The credentials as headers of a request. If it must log in first (through `door`), it blocks."""

    def refused(self, response: Response) -> bool:
        """Whether `response` says that the credentials are no longer valid. Then one new login is tried."""

    def forget(self, headers: Mapping[str, str]) -> None:
        """Drop the credentials in `headers`, so that the next request logs in again.

        Does nothing if another thread has already renewed the credentials.
        """

    def secrets(self) -> frozenset[str]:
        """The secret texts in the current and the previous credentials. Never blocks.

        A source may repeat them in its answers, so they are removed from everything that is stored or logged.
        """


class StaticHeaders:
    """Base class for credentials that come from the settings and never change.

    `headers`: added to every request. `secrets`: the texts in them that must not be stored or logged.
    """

    def __init__(self, headers: Mapping[str, str], secrets: Collection[str]) -> None:
        self._headers = headers
        self._secrets = frozenset(secrets)

    def headers(self, door: Door) -> Mapping[str, str]:
        return self._headers

    def refused(self, response: Response) -> bool:
        return False  # credentials from the settings cannot be renewed

    def forget(self, headers: Mapping[str, str]) -> None:
        return None

    def secrets(self) -> frozenset[str]:
        return self._secrets


class NoAuth(StaticHeaders):
    """The credentials of a source that needs none."""

    def __init__(self) -> None:
        super().__init__({}, ())


class BasicAuth(StaticHeaders):
    """Basic authentication (RFC 7617): user and password with every request, in UTF-8.

    Raises SettingsError if the user's name contains a colon.
    """

    def __init__(self, user: str, password: SecretStr) -> None:
        if ":" in user:
            raise SettingsError("Basic authentication: a user's name contains no colon, because a colon ends it")
        text = basic_credentials(user, password.get_secret_value())
        super().__init__({"Authorization": f"Basic {text}"}, {text, password.get_secret_value()})


class ApiKeyAuth(StaticHeaders):
    """An API key in `header` of every request, after the text `prefix`: `ApiKeyAuth(key, "Authorization", "Bearer ")`.

    Raises SettingsError if `header` cannot carry a key, or if the key contains a character that HTTP cannot carry.
    """

    def __init__(self, key: SecretStr, header: str = "X-API-Key", prefix: str = "") -> None:
        if not is_header_name(header) or header.lower() in _OF_HTTP:
            raise SettingsError(f"{header!r} is no name of a header that can carry a key, such as X-API-Key")
        text = f"{prefix}{key.get_secret_value()}"
        if not is_header_value(text):
            raise SettingsError(
                f"the key for header {header} contains a character that HTTP cannot carry, or a space around it"
            )
        super().__init__({header: text}, {key.get_secret_value()})


@dataclass(frozen=True)
class Login:
    """The result of a login. `headers`: added to every later request. `lasts_s`: for how many seconds the headers are
    valid; None: until the source refuses them."""

    headers: Mapping[str, str] = field(repr=False)
    lasts_s: float | None = None


class SessionAuth:
    """Base class for logins: an author writes the method `login`.

    One thread at a time runs `login`. Other threads that need the credentials wait and share them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._until = 0.0
        self._secrets: tuple[frozenset[str], ...] = ()

    def login(self, door: Door) -> Login:
        """Log in with `door.send`, and return the headers for the requests that follow. May block.

        Called before the first request, when `Login.lasts_s` seconds have passed, and when the source answers a request
        with status 401. Raise EnvironmentFault if the credentials are wrong, and Transient for every other failure.
        """
        raise NotImplementedError

    def headers(self, door: Door) -> Mapping[str, str]:
        with self._lock:
            if self._login is None or time.monotonic() >= self._until:
                self._login = self.login(door)
                # The secrets of the previous login stay, because the answer to a request with them may still arrive.
                self._secrets = (*self._secrets[-1:], frozenset(_secret_texts(self._login.headers)))
                lasts_s = self._login.lasts_s
                self._until = float("inf") if lasts_s is None else time.monotonic() + lasts_s
            return self._login.headers

    def refused(self, response: Response) -> bool:
        return response.status == 401

    def forget(self, headers: Mapping[str, str]) -> None:
        with self._lock:
            if self._login is not None and self._login.headers is headers:
                self._login = None

    def secrets(self) -> frozenset[str]:
        return frozenset().union(*self._secrets)


def _secret_texts(headers: Mapping[str, str]) -> Iterator[str]:
    """The secret texts in `headers`: of a value `Bearer abc` both the value and `abc`, of cookies each `name=value` and
    each value.

    A header of any name may contain a token, but a token is never short. A short value of a cookie is no secret.
    """
    for name, value in headers.items():
        if name.lower() == "cookie":
            yield from value.split("; ")
            values = (part.partition("=")[2] for part in value.split("; "))
            yield from (one for one in values if len(one) >= COOKIE_LENGTH_MIN)
        elif is_secret_name(name) or len(value) >= TOKEN_LENGTH_MIN:
            yield value
            yield value.partition(" ")[2]
