"""Failures below HTTP, and a body that cannot be taken, as Transient with a reason that is safe to log."""

from __future__ import annotations

import httpcore
import httpx

from sluice.connector.transport import BodyTooLarge, BodyUnreadable
from sluice.errors import Transient

NETWORK_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpx.TransportError,
    BodyTooLarge,
    BodyUnreadable,
)


def no_answer(doing: str, error: Exception) -> Transient:
    """`doing` names method and URL without its query."""
    return Transient(f"{doing}: {_reason(error)}")


def _reason(error: Exception) -> str:
    match error:
        case BodyTooLarge():
            return "the body exceeds body_bytes_max; ask for a smaller page_size or raise the connector's limits"
        case BodyUnreadable():
            return str(error)
        case httpcore.ConnectTimeout() | httpcore.ConnectError():
            return "no connection"
        case httpcore.TimeoutException():
            return "no whole answer within the deadline"
        case httpcore.RemoteProtocolError():
            return "the answer was cut off or is not HTTP"
        case _:
            return type(error).__name__
