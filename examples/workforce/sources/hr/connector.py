"""HR's API: where the workers are, what their key is, how to ask for changes."""

from datetime import timedelta

from pydantic import SecretStr

from sluice.connector import (
    Auth,
    Connector,
    ConnectorSettings,
    Cursor,
    NextLink,
    OAuth2ClientCredentials,
    RestStream,
)

from .mapping import HrWorker


class HrSettings(ConnectorSettings):
    client_id: str
    client_secret: SecretStr


class Workers(RestStream[HrWorker]):
    path, records, key = "/workers", "data", "id"
    cursor = Cursor("updatedAt", param="updated_from", lookback=timedelta(seconds=10))
    paging = NextLink("links.next", size_param="limit")
    page_size = 200
    listings_before_delete = 1  # pages follow updatedAt, which only rises: no record is missed between two pages


class Hr(Connector[HrSettings]):
    streams = {"workers": Workers}  # noqa: RUF012 - a declaration

    def auth(self) -> Auth:
        return OAuth2ClientCredentials("/oauth/token", self.settings.client_id, self.settings.client_secret)
