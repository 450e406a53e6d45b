"""Who may ask, and how often: OAuth2 client credentials (RFC 6749, 4.4) with tokens that expire, and a rate limit."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Mapping
from threading import Lock
from urllib.parse import parse_qs


class OAuthRefusal(Exception):
    """An OAuth2 error: HTTP status and the RFC's error code."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class Tokens:
    """Issues and checks bearer tokens: an expiry, signed; nothing is stored."""

    def __init__(self, client_id: str, client_secret: str, lifetime_s: float) -> None:
        self._client = (client_id, client_secret)
        self._lifetime_s = lifetime_s
        self._key = secrets.token_bytes(32)

    def issue(self, authorization: str, body: bytes) -> dict[str, object]:
        """The token response to a form `body`; the client is named by HTTP Basic or by the form."""
        form = {k: v[0] for k, v in parse_qs(body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials":
            raise OAuthRefusal(400, "unsupported_grant_type")
        given = _basic(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
        if not all(hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._client, strict=True)):
            raise OAuthRefusal(401, "invalid_client")
        expiry_ms = str(int((time.time() + self._lifetime_s) * 1000))
        return {
            "access_token": f"{expiry_ms}.{self._sign(expiry_ms)}",
            "token_type": "Bearer",
            "expires_in": int(self._lifetime_s),
        }

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises OAuthRefusal unless the request bears a token that is ours and not expired."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        expiry_ms, _, signature = token.partition(".")
        genuine = scheme.lower() == "bearer" and hmac.compare_digest(signature.encode(), self._sign(expiry_ms).encode())
        if not genuine or int(expiry_ms) < time.time() * 1000:
            raise OAuthRefusal(401, "invalid_token")

    def revoke_all(self) -> None:
        """Every token issued so far stops working."""
        self._key = secrets.token_bytes(32)

    def _sign(self, expiry_ms: str) -> str:
        return hmac.new(self._key, expiry_ms.encode(), hashlib.sha256).hexdigest()


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
    except ValueError:
        return ("", "")
    return user, password


class RateLimit:
    """A token bucket: `burst` requests at once, `per_second` in the long run; 0 means no limit."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._level = float(burst)
        self._at = time.monotonic()
        self._lock = Lock()

    def wait_s(self) -> int:
        """0 if the request may pass, else the whole seconds for Retry-After."""
        if self._per_second <= 0:
            return 0
        with self._lock:
            now = time.monotonic()
            self._level = min(self._burst, self._level + (now - self._at) * self._per_second)
            self._at = now
            if self._level >= 1:
                self._level -= 1
                return 0
            return max(1, math.ceil((1 - self._level) / self._per_second))
