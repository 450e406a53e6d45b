"""The classes with which an author declares a polled source: where its records are, their key and their cursor.

The framework sends the requests. It retries, follows pages, renews tokens, limits sizes and times, and writes to Kafka.
A usual API takes three declarations:

```python
class WorkdaySettings(ConnectorSettings):              # sources.workday.settings in pipeline.yaml
    client_id: str
    client_secret: SecretStr

class Workers(RestStream[WorkdayWorker]):
    path, records, key = "/workers", "data", "id"
    cursor = Cursor("updatedAt", param="updated_from", lookback=timedelta(minutes=5))
    paging = NextLink("links.next", size_param="limit")
    page_size = 200

class Workday(Connector[WorkdaySettings]):
    streams = {"workers": Workers}

    def auth(self) -> Auth:
        return OAuth2ClientCredentials("/oauth/token", self.settings.client_id, self.settings.client_secret)
```

Authentication: `BasicAuth(user, password)`, `ApiKeyAuth(key, "X-API-Key")`, `OAuth2ClientCredentials(…)`, or a login
that you write (see below). An OData 4 service takes an `ODataStream`: `path`, `key`, and a `cursor` without a
parameter.

Paging: a link in a member (`NextLink("links.next")`), in the header `Link` (`LinkHeader()`), or counting (`Offset()`).
A stream without `paging` has one page. If the declared paging ends at a page that says that more records follow, the
stream has a fault. `not_paging` names members that look like paging, but are not.

For an unusual API override `Stream` instead of `RestStream`: `first_request(since)`, `next_request(response, request)`,
`records_in(response)` and, if no single member is the cursor, `cursor_of(record)`. For a login that no class here
covers inherit `SessionAuth` and write `login(door) -> Login(headers)`:

```python
class TrytonLogin(SessionAuth):
    def login(self, door: Door) -> Login:
        answer = door.send(Request.post_json("/session/login", {...}))      # returns any status; check it
        return Login({"Cookie": f"tryton_session={...}"})

class Employees(Stream[TrytonEmployee]):
    key, cursor = "id", Cursor("write_date", lookback=timedelta(minutes=1))   # no param: the request's body has it

    def first_request(self, since: CursorValue | None) -> Request:
        return Request.post_json("/rpc/", {"method": "model.company.employee.search_read", "params": [...]})

    def next_request(self, response: Response, request: Request) -> Request | None:
        ...                                                                   # json.loads(request.body) has the offset

    def records_in(self, response: Response) -> Sequence[bytes]:
        return response.slices("result")                                      # or encode(...) of reshaped records
```

This package imports no Kafka and no Postgres.
"""

from sluice.connector.auth import ApiKeyAuth, Auth, BasicAuth, Door, Login, NoAuth, SessionAuth
from sluice.connector.connector import Connector, ConnectorSettings
from sluice.connector.cursor import Cursor, CursorValue
from sluice.connector.messages import Request, Response
from sluice.connector.oauth2 import OAuth2ClientCredentials
from sluice.connector.odata import ODataStream
from sluice.connector.paging import LinkHeader, NextLink, Offset, Paging, SinglePage
from sluice.connector.record import SourceRecord
from sluice.connector.rest import RestStream
from sluice.connector.stream import Stream
from sluice.entities.debezium_types import EpochDate as EpochDays
from sluice.entities.debezium_types import MicroTimestamp as EpochMicros
from sluice.errors import EnvironmentFault, Transient
from sluice.http import Limits
from sluice.json_text import Missing, NotJson, decode, encode

__all__ = [
    "ApiKeyAuth",
    "Auth",
    "BasicAuth",
    "Connector",
    "ConnectorSettings",
    "Cursor",
    "CursorValue",
    "Door",
    "EnvironmentFault",
    "EpochDays",
    "EpochMicros",
    "Limits",
    "LinkHeader",
    "Login",
    "Missing",
    "NextLink",
    "NoAuth",
    "NotJson",
    "OAuth2ClientCredentials",
    "ODataStream",
    "Offset",
    "Paging",
    "Request",
    "Response",
    "RestStream",
    "SessionAuth",
    "SinglePage",
    "SourceRecord",
    "Stream",
    "Transient",
    "decode",
    "encode",
]
