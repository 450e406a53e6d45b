"""Why an HTTP exchange has no complete response: the errors, and the reason for each error of the network."""

from __future__ import annotations

import ssl
from socket import gaierror

import httpcore2

NETWORK_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)


class NoAnswer(Exception):
    """No complete response arrived. The error text says why, and contains nothing secret.

    `next_step`: what an operator does, empty if the cause may pass by itself.
    """

    def __init__(self, why: str, next_step: str = "") -> None:
        super().__init__(why)
        self.next_step = next_step


class BodyTooLarge(NoAnswer):
    """The body of a response is larger than `Limits.body_bytes_max`, before or after it is decompressed."""

    def __init__(self) -> None:
        super().__init__("the body exceeds body_bytes_max")


class Unsendable(NoAnswer):
    """HTTP does not allow the request: its address, or its header `header` (None: the address)."""

    def __init__(self, why: str, header: str | None = None) -> None:
        super().__init__(why)
        self.header = header


# OpenSSL's codes of refused certificates (X509_V_ERR_…).
_EXPIRED, _NOT_YET_VALID = (10,), (9,)
_WRONG_NAME = (62, 64)
# OpenSSL's reasons if the server sends anything but TLS.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_RENEW = "have the certificate of the server renewed, or correct the clock of this machine"


def no_answer(error: Exception) -> NoAnswer:
    """The NoAnswer for `error`, which is one of NETWORK_ERRORS."""
    cause = error.__cause__ or error.__context__
    match cause:
        case ssl.SSLCertVerificationError():
            return _refused_certificate(cause)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionResetError() | BrokenPipeError():
            return NoAnswer("the server closed the connection")
        case ssl.SSLError() if cause.reason in _NOT_TLS:
            next_step = "correct the port of the address; write http:// only if the server has no TLS"
            return NoAnswer("no connection: the server does not speak TLS at this port", next_step)
        case ssl.SSLError():
            return NoAnswer(f"no connection: TLS failed ({cause.reason or 'unknown reason'})")
        case gaierror():
            return NoAnswer("no connection: the name of the host is not found")
        case ConnectionRefusedError():
            return NoAnswer("no connection: it is refused")
        case _:
            return NoAnswer(_reason(error))


def _refused_certificate(error: ssl.SSLCertVerificationError) -> NoAnswer:
    if error.verify_code in _EXPIRED:
        return NoAnswer("the certificate of the server has expired", _RENEW)
    if error.verify_code in _NOT_YET_VALID:
        return NoAnswer("the certificate of the server is not valid yet", _RENEW)
    if error.verify_code in _WRONG_NAME:
        next_step = "correct the host of the address, or have a certificate issued for this host"
        return NoAnswer("the certificate of the server is for another host", next_step)
    next_step = (
        "if the authority that signed it is your own, set SSL_CERT_FILE to a file with the certificates of all "
        "authorities to trust, and restart; otherwise have the server send its whole chain"
    )
    return NoAnswer(f"the certificate of the server is not trusted ({error.verify_message})", next_step)


def _reason(error: Exception) -> str:
    match error:
        case httpcore2.ConnectTimeout() | httpcore2.ConnectError():
            return "no connection"
        case httpcore2.TimeoutException():
            return "no whole answer within the deadline"
        case httpcore2.RemoteProtocolError():
            return "the answer was cut off or is not HTTP"
        case httpcore2.NetworkError():
            return "the connection broke"
        case _:
            return type(error).__name__
