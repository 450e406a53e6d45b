"""Sends requests to a source: with credentials, within limits, and only to the source's own origin."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from sluice.connector.auth import Auth, Door
from sluice.connector.messages import Request, Response, origin, resolve, without_path, without_query
from sluice.connector.redact import safe_url
from sluice.error_policies import classify_http
from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.http import BodyTooLarge, HttpClient, Limits, NoAnswer, Unsendable

REDIRECTS_MAX = 3
_NO_HEADERS: Mapping[str, str] = {}


class Fetcher:
    """Sends the requests of one connector. Safe for several threads."""

    def __init__(self, source: str, base_url: str, auth: Auth, limits: Limits) -> None:
        self._base_url = base_url
        self._auth = auth
        self._limits = limits
        self._client = HttpClient(limits)
        self._door = Door(source, base_url, self._send)

    @property
    def deadline_s(self) -> float:
        """The most seconds that one exchange takes, without the look-up of the host's name, which has no deadline."""
        return self._limits.deadline_s

    def url(self, request: Request) -> str:
        """The absolute URL of `request`, without its query."""
        return without_query(request.at(self._base_url).url)

    def fetch(self, request: Request) -> Response:
        """The response to `request`, of any status. Follows redirects and renews refused credentials once. Blocks.

        Raises Transient if no whole response arrives, EnvironmentFault if the address or the login is wrong.
        """
        request = request.at(self._base_url)
        for _ in range(REDIRECTS_MAX + 1):
            self._same_origin(request.url, "names")
            response = self._signed(request)
            location = response.headers.get("location")
            if response.status not in (301, 302, 303, 307, 308) or location is None or request.method != "GET":
                return response
            target = self._target(request.url, location)
            self._same_origin(target, "is redirected to")
            request = replace(request, url=target)
        raise EnvironmentFault(
            without_query(request.url),
            f"redirects more than {REDIRECTS_MAX} times",
            "check base_url and the stream's path",
        )

    def close(self) -> None:
        self._client.close()

    def _signed(self, request: Request) -> Response:
        headers = self._auth.headers(self._door)
        response = self._send(request, headers)
        if not self._auth.refused(response):
            return response
        self._auth.forget(headers)
        return self._send(request, self._auth.headers(self._door))

    @staticmethod
    def _target(url: str, location: str) -> str:
        try:
            return resolve(url, location)
        except ValueError as error:
            why = f"redirects to a link that is no address: it {error}"
            raise EnvironmentFault(without_query(url), why, "check base_url and the stream's path") from None

    def _same_origin(self, url: str, what: str) -> None:
        # A header of any name may contain credentials, so no request is sent to another origin than the source's own.
        if origin(url) != origin(self._base_url):
            # The path is left out: the source may have repeated a credential in it.
            raise EnvironmentFault(
                without_query(self._base_url),
                f"a request {what} another origin, {without_path(url)}, which must not get its credentials",
                f"set {self._door.setting('base_url')} to the origin that serves the data",
            )

    def _send(self, request: Request, credentials: Mapping[str, str] = _NO_HEADERS) -> Response:
        """The response to `request`, sent with the headers `credentials`, which `Response.request` does not contain."""
        request = request.at(self._base_url)
        headers = {"Accept": "application/json", **request.headers, **credentials}
        try:
            answer = self._client.exchange(request.method, request.url, headers, request.body)
        except Unsendable as error:
            raise self._unsendable(request, error, credentials) from None
        except NoAnswer as error:
            if error.next_step:
                where = f"{request.method} {without_query(request.url)}"
                raise EnvironmentFault(where, str(error), error.next_step) from None
            too_large = ". Next: declare a smaller page_size, or raise the connector's limits"
            advice = too_large if isinstance(error, BodyTooLarge) else ""
            raise Transient(f"{request.method} {without_query(request.url)}: {error}{advice}") from None
        return Response(request, answer.status, answer.headers, answer.body)

    def _unsendable(self, request: Request, error: Unsendable, credentials: Mapping[str, str]) -> EnvironmentFault:
        # The address is not quoted: it may contain control characters, and be very long.
        where = f"a {request.method} request to {without_query(self._base_url)}"
        if error.header is None:
            next_step = "check the address that the connector builds, and the link or setting from which it takes it"
            return EnvironmentFault(where, str(error), next_step)
        if error.header not in credentials:
            return EnvironmentFault(where, f"{error}: {error.header!r}", "check the headers that the connector sets")
        self._auth.forget(credentials)  # the next request logs in again
        source, login = self._door.source, type(self._auth).__name__
        why = f"the login ({login}) gives {error.header} a character that no header can have, or a space around it"
        next_step = (
            f"check sources.{source}.settings, the variables that it names, and what the login gets as an answer"
        )
        return EnvironmentFault(where, why, next_step)


def failure(source: str, response: Response, secrets: Collection[str] = ()) -> SluiceError | None:
    """The error to raise for the status of `response`; None for a success.

    The error names the request with its query, but without values that look secret and without the texts in `secrets`.
    """
    policy = classify_http(response.status)
    if policy is None:
        return None
    where = f"{response.request.method} {safe_url(response.request.url, secrets)}"
    if policy is Transient:
        return Transient(f"{where}: status {response.status}", response.retry_after_s)
    if response.status in (401, 403):
        next_step = f"check sources.{source}.settings, the variables that it names, and what this account may read"
        return EnvironmentFault(where, f"status {response.status}: the source refuses this account", next_step)
    return EnvironmentFault(where, f"status {response.status}", "check base_url and the stream's path and parameters")
