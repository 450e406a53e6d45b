"""OAuth 2.0 client credentials (RFC 6749, section 4.4), spoken by Authlib through the bounded transport."""

from __future__ import annotations

import logging
from typing import Any

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from pydantic import SecretStr

from sluice.connector.auth import Door, Login, SessionAuth
from sluice.connector.messages import absolute, without_query
from sluice.connector.network_errors import NETWORK_ERRORS, no_answer
from sluice.errors import EnvironmentFault, Transient, classify_http

# httpx reports every URL at INFO, query and all.
logging.getLogger("httpx").setLevel(logging.WARNING)

# A token is renewed this long before it ends, or at half of its life where that is sooner.
RENEW_BEFORE_S = 30.0
_OUR_CREDENTIALS = {"invalid_client", "unauthorized_client", "invalid_scope", "access_denied", "invalid_grant"}


class OAuth2ClientCredentials(SessionAuth):
    """Bearer tokens for `client_id`; fetched once, renewed shortly before they end or when refused.

    `token_url` may be relative to the connector's `base_url`; `setting` is the connector setting that an error about
    a wrong secret names.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: SecretStr,
        *,
        scope: str | None = None,
        setting: str = "client_secret",
    ) -> None:
        super().__init__()
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._setting = setting

    def login(self, door: Door) -> Login:
        url = absolute(door.base_url, self._token_url)
        token = self._token(door, url)
        stated = token.get("expires_in")
        lasts_s = max(stated - RENEW_BEFORE_S, stated / 2) if isinstance(stated, int | float) else None
        return Login({"Authorization": f"Bearer {token['access_token']}"}, lasts_s)

    def _token(self, door: Door, url: str) -> dict[str, Any]:
        where = without_query(url)
        # Not closed: that would close the transport, which is the connector's.
        client = OAuth2Client(
            client_id=self._client_id,
            client_secret=self._client_secret.get_secret_value(),
            scope=self._scope,
            transport=door.transport,
            trust_env=False,
        )
        try:
            token: dict[str, Any] = client.fetch_token(url, grant_type="client_credentials")
        except OAuthError as error:
            raise self._refused(door, where, str(error.error)) from None
        except httpx.HTTPStatusError as error:
            raise self._status(door, where, error.response.status_code) from None
        except NETWORK_ERRORS as error:
            raise no_answer(f"POST {where}", error) from None
        except ValueError:
            raise Transient(f"POST {where}: the token's answer is not JSON") from None
        if not isinstance(token.get("access_token"), str):
            raise Transient(f"POST {where}: the answer holds no access_token")
        return token

    def _status(self, door: Door, where: str, status: int) -> Exception:
        if classify_http(status) is Transient:
            return Transient(f"POST {where}: status {status}")
        return self._refused(door, where, f"status {status}")

    def _refused(self, door: Door, where: str, code: str) -> Exception:
        # The code is taken only from the specification's list: the rest of an answer may quote what we sent.
        said = code if code in _OUR_CREDENTIALS or code.startswith("status ") else "no"
        return EnvironmentFault(
            f"POST {where}",
            f"the token endpoint answers {said} to these client credentials",
            f"check {door.setting('client_id')} and {door.setting(self._setting)}",
        )
