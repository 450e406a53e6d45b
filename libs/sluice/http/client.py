"""An HTTP client with a deadline for the whole exchange and a limit on the decompressed body.

httpx2 alone has neither. Its time-out restarts with every byte, so a server that sends one byte at a time never times
out. It also decompresses without a limit: 1 MB of gzip becomes 1 GB. Therefore the deadline is enforced at the socket
(`deadline.py`), and this module decompresses the body up to a limit. It does not use httpx2's client, so it follows no
redirect, keeps no cookie and logs no URL.
"""

from __future__ import annotations

import base64
import contextlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import httpcore2
import httpx2

from sluice.http.deadline import DeadlineBackend, within_deadline
from sluice.http.failures import NETWORK_ERRORS, BodyTooLarge, NoAnswer, Unsendable, no_answer
from sluice.http.tls import tls_context
from sluice.http.validity import unsendable_header, url_problem

_MIB = 1024 * 1024
IDLE_MAX = 4
USER_AGENT = "sluice"
_ENCODINGS_REFUSED = ("br", "compress", "deflate", "zstd")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one exchange. `deadline_s`: from the start of the connection to the last byte of the body.

    `body_bytes_max`: the most bytes of the decompressed body. `read_timeout_s`: the most seconds that one call on the
    socket reads or writes.
    """

    body_bytes_max: int = 16 * _MIB
    deadline_s: float = 60.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0


class Answer(NamedTuple):
    """A complete HTTP response: header names in lower case, the body decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """An HTTP client for several threads; each thread sends one request at a time.

    Each exchange takes a pool of one connection, and returns it for the next exchange. Threads do not share a pool: in
    httpcore 1.0.9 they close each other's connections, because a connection that was just given to a request still
    counts as idle. Then the request fails or waits for its read time-out (one in a thousand, with fifty threads).
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._idle: list[httpcore2.ConnectionPool] = []
        self._closed = False

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Send a request and return the response, of any status.

        Blocks up to `Limits.deadline_s` seconds, and for the look-up of the host's name, which has no deadline. Raises
        NoAnswer if no complete response arrives, or if its body exceeds the limit; and Unsendable if HTTP does not
        allow the address or a header.
        """
        if problem := url_problem(url):
            raise Unsendable(f"the address {problem}")
        if (name := unsendable_header(headers)) is not None:
            raise Unsendable("a header has a name or a value with a character that HTTP does not allow", name)
        request = httpx2.Request(method, url, headers={"User-Agent": USER_AGENT, **headers}, content=body)
        request.headers["Accept-Encoding"] = "gzip"
        try:
            with within_deadline(self._limits.deadline_s), self._own_pool() as pool:
                response = pool.handle_request(self._core_request(request))
                try:
                    answered = httpx2.Headers(response.headers)
                    plain = _read(response.iter_stream(), answered, self._limits.body_bytes_max)
                finally:
                    response.close()
        except NETWORK_ERRORS as error:
            raise no_answer(error) from None
        for name in ("content-encoding", "transfer-encoding", "content-length"):
            answered.pop(name, None)
        return Answer(response.status, {name.lower(): value for name, value in answered.items()}, plain)

    def close(self) -> None:
        """Close the idle connections. A connection that is in use is closed at the end of its exchange."""
        self._closed = True
        while (pool := self._idle_pool()) is not None:
            pool.close()

    @contextlib.contextmanager
    def _own_pool(self) -> Iterator[httpcore2.ConnectionPool]:
        pool = self._idle_pool() or _one_connection()
        try:
            yield pool
        finally:
            if self._closed or len(self._idle) >= IDLE_MAX:
                pool.close()
            else:
                self._idle.append(pool)

    def _idle_pool(self) -> httpcore2.ConnectionPool | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _core_request(self, request: httpx2.Request) -> httpcore2.Request:
        url = httpcore2.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        limits = self._limits
        timeouts = {"connect": limits.connect_timeout_s, "read": limits.read_timeout_s, "write": limits.read_timeout_s}
        timeouts["pool"] = limits.deadline_s
        return httpcore2.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.read(),
            extensions={"timeout": timeouts},
        )


def basic_credentials(user: str, password: str) -> str:
    """The credentials that follow `Basic` in the header `Authorization` (RFC 7617), encoded from UTF-8."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _one_connection() -> httpcore2.ConnectionPool:
    return httpcore2.ConnectionPool(
        ssl_context=tls_context(),
        max_connections=1,
        max_keepalive_connections=1,
        keepalive_expiry=15.0,
        network_backend=DeadlineBackend(),
    )


def _read(chunks: Iterable[bytes], headers: httpx2.Headers, bytes_max: int) -> bytes:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        # An unknown encoding is not quoted, because a source may repeat a credential in any header.
        named = f"in {encoding}" if encoding in _ENCODINGS_REFUSED else "in an unknown way"
        raise NoAnswer(f"the body is encoded {named}, but the request accepts only gzip")
    if int(headers.get("content-length", 0)) > bytes_max:
        raise BodyTooLarge
    plain = _inflated(chunks, bytes_max) if "gzip" in encoding else chunks
    body = bytearray()
    for chunk in plain:
        body += chunk
        if len(body) > bytes_max:
            raise BodyTooLarge
    return bytes(body)


def _inflated(chunks: Iterable[bytes], bytes_max: int) -> Iterator[bytes]:
    """Decompress a gzip body of one or several members. One step decompresses at most `bytes_max` + 1 bytes.

    Raises NoAnswer if the body is not gzip or is cut off.
    """
    inflater = zlib.decompressobj(wbits=31)
    started = False
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if inflater.eof:
                    rest = rest.lstrip(b"\0")  # zero bytes may follow a member, as padding
                    if not rest:
                        break
                    inflater = zlib.decompressobj(wbits=31)
                started = True
                plain = inflater.decompress(rest, bytes_max + 1)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                yield plain
    except zlib.error:
        raise NoAnswer("the body is not gzip, although its header says so") from None
    if started and not inflater.eof:
        raise NoAnswer("the gzip body was cut off")
