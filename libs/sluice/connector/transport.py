"""HTTP exchanges with bounds that hold: a deadline for the whole exchange, a limit on the decompressed body.

httpx's own time-out starts anew with every byte, so a server that drips one byte at a time is never timed out, and
it decompresses before anyone can look: 1 MB of gzip becomes 1 GB. So the deadline is enforced at the socket, below
HTTP, and the body is read and inflated here under a byte budget. There is no httpx client above this transport, so
no redirect is followed, no cookie kept and no URL logged behind our back.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from sluice.tls import tls_context

_MIB = 1024 * 1024
IDLE_MAX = 4
_deadline: ContextVar[float] = ContextVar("deadline")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one exchange. `deadline_s`: from connecting to the body's last byte."""

    body_bytes_max: int = 16 * _MIB
    deadline_s: float = 60.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0


class BodyTooLarge(Exception):
    """The body is larger than `body_bytes_max`, decompressed or not."""


class BodyUnreadable(Exception):
    """The body ends too early or is in an encoding that was not asked for."""


class BoundedTransport(httpx.BaseTransport):
    """An httpx transport whose responses are whole, decompressed and within `limits`. Safe for several threads.

    An exchange has a pool of its own, of one connection, and leaves it to the next: threads that share a pool of
    httpcore 1.0.9 close each other's connections, since one that was just given to a request still counts as idle.
    The request then fails, or waits for its read time-out (one in a thousand, fifty threads).
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._idle: list[httpcore.ConnectionPool] = []
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpcore's network errors, BodyTooLarge or BodyUnreadable."""
        limits = self._limits
        set_deadline = _deadline.set(time.monotonic() + limits.deadline_s)
        try:
            with self._own_pool() as pool:
                response = pool.handle_request(self._core_request(request))
                try:
                    headers = httpx.Headers(response.headers)
                    body = _read(response.iter_stream(), headers, limits.body_bytes_max)
                finally:
                    response.close()
        finally:
            _deadline.reset(set_deadline)
        for name in ("content-encoding", "transfer-encoding", "content-length"):
            headers.pop(name, None)
        return httpx.Response(response.status, headers=headers, content=body, request=request)

    def close(self) -> None:
        """Close what is idle; what is under way is closed when it ends."""
        self._closed = True
        while (pool := self._idle_pool()) is not None:
            pool.close()

    @contextlib.contextmanager
    def _own_pool(self) -> Iterator[httpcore.ConnectionPool]:
        pool = self._idle_pool() or _one_connection()
        try:
            yield pool
        finally:
            if self._closed or len(self._idle) >= IDLE_MAX:
                pool.close()
            else:
                self._idle.append(pool)

    def _idle_pool(self) -> httpcore.ConnectionPool | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _core_request(self, request: httpx.Request) -> httpcore.Request:
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        limits = self._limits
        timeouts = {"connect": limits.connect_timeout_s, "read": limits.read_timeout_s, "write": limits.read_timeout_s}
        timeouts["pool"] = limits.deadline_s
        request.headers["Accept-Encoding"] = "gzip"
        return httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.read(),
            extensions={"timeout": timeouts},
        )


def _one_connection() -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=tls_context(),
        max_connections=1,
        max_keepalive_connections=1,
        keepalive_expiry=15.0,
        network_backend=_DeadlineBackend(),
    )


def _read(chunks: Iterable[bytes], headers: httpx.Headers, bytes_max: int) -> bytes:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise BodyUnreadable(f"the body is encoded as {encoding}, asked for was gzip")
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
    """Gunzip, one or several members, never inflating more than one byte beyond the budget at once."""
    inflater = zlib.decompressobj(wbits=31)
    started = False
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if inflater.eof:
                    inflater = zlib.decompressobj(wbits=31)
                started = True
                plain = inflater.decompress(rest, bytes_max + 1)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                yield plain
    except zlib.error:
        raise BodyUnreadable("the body is not the gzip that its header promises") from None
    if started and not inflater.eof:
        raise BodyUnreadable("the gzip body was cut off")


class _DeadlineBackend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._inner.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _DeadlineStream(httpcore.NetworkStream):
    """A socket on which no single call outlives the deadline of the exchange that uses it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(timeout: float | None, late: type[Exception]) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise late("the exchange's deadline has passed")
    return left if timeout is None else min(timeout, left)
