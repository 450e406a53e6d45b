"""Logins with OAuth 2.0 client credentials (RFC 6749, section 4.4).

Authlib encodes the request for a token, and the connector's client sends it. Authlib's own HTTP client is not used: it
reads the response without a limit on its size, and its next release needs another HTTP library than Sluice's.
"""

from __future__ import annotations

from typing import Any

from authlib.oauth2 import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from pydantic import SecretStr

from sluice.connector.auth import Door, Login, SessionAuth
from sluice.connector.messages import Request, Response, absolute, without_query
from sluice.error_policies import classify_http
from sluice.errors import EnvironmentFault, Transient
from sluice.json_text import NotJson

# A token is renewed this many seconds before it expires, but not before half of its lifetime has passed.
RENEW_BEFORE_S = 30.0
FORM = "application/x-www-form-urlencoded;charset=UTF-8"
# The error codes of RFC 6749, section 5.2. Error texts repeat only these: the rest of a response may quote the secret.
_CODES = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
}


class OAuth2ClientCredentials(SessionAuth):
    """Requests with a bearer token for `client_id`. The token is renewed shortly before it expires, and when the source
    refuses it.

    `token_url` may be relative to the connector's `base_url`. `method`: `client_secret_basic` or `client_secret_post`.
    `setting`: the name of the connector's setting that contains the secret, for error texts.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: SecretStr,
        *,
        scope: str | None = None,
        method: str = "client_secret_basic",
        setting: str = "client_secret",
    ) -> None:
        super().__init__()
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._method = method
        self._setting = setting

    def login(self, door: Door) -> Login:
        token = self._token(door, absolute(door.base_url, self._token_url))
        stated = token.get("expires_in")
        lasts_s = max(stated - RENEW_BEFORE_S, stated / 2) if isinstance(stated, int) else None
        return Login({"Authorization": f"Bearer {token['access_token']}"}, lasts_s)

    def _token(self, door: Door, url: str) -> dict[str, Any]:
        response = door.send(self._request(door, url))
        where = f"POST {without_query(url)}"
        token = _object(response)
        policy = classify_http(response.status)
        if policy is Transient:
            raise Transient(f"{where}: status {response.status}", response.retry_after_s)
        if policy is not None or "error" in token:
            code = token.get("error")
            reason = code if isinstance(code, str) and code in _CODES else f"status {response.status}"
            raise self._refused(door, where, f"the token endpoint answers {reason} to these client credentials")
        if not isinstance(token.get("access_token"), str):
            raise Transient(f"{where}: the answer has no access_token")
        return token

    def _request(self, door: Door, url: str) -> Request:
        scope = {} if self._scope is None else {"scope": self._scope}
        body: str = prepare_token_request("client_credentials", "", **scope)
        client = ClientAuth(self._client_id, self._client_secret.get_secret_value(), self._method)
        try:
            url, headers, body = client.prepare("POST", url, {"Content-Type": FORM}, body)
        except UnicodeEncodeError:
            where = f"POST {without_query(url)}"
            raise self._refused(
                door, where, "the client credentials contain a character that HTTP cannot carry"
            ) from None
        return Request("POST", url, headers, body.encode())

    def _refused(self, door: Door, where: str, why: str) -> EnvironmentFault:
        return EnvironmentFault(where, why, f"check {door.setting('client_id')} and {door.setting(self._setting)}")


def _object(response: Response) -> dict[str, Any]:
    try:
        value = response.json
    except NotJson:
        return {}
    return value if isinstance(value, dict) else {}
