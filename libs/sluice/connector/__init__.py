"""The author's SDK for polled sources: where records are, their key, their cursor. Imports no Kafka and no Postgres.

A usual API takes three declarations; no retry, paging loop, token or Kafka is written by its author:

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

Requests are signed by `BasicAuth(user, password)`, `ApiKeyAuth(key, "X-API-Key")`, `OAuth2ClientCredentials(…)`, or a
login of its own (below). An OData 4 service takes an `ODataStream`: `path`, `key`, and a `cursor` without a parameter.

Pages follow one another by a link in a member (`NextLink("links.next")`, `NextLink("@odata.nextLink")`), in the header
`Link` (`LinkHeader()`) or by counting (`Offset()`); without `paging` a stream has one page. An answer that looks as if
more followed, and is not read so, is a fault of the stream; `not_paging` excludes members that only look like it.

For an odd API override `Stream` instead of `RestStream`: `first_request(since)`, `next_request(response, request)`,
`records_in(response)`, and, where a field's path does not do, `cursor_of(record)`. A login call of its own is a
`SessionAuth` with `login(door) -> Login(headers)`:

```python
class TrytonLogin(SessionAuth):
    def login(self, door: Door) -> Login:
        answer = door.send(Request.post_json("/session/login", {...}))      # any status comes back; check it
        return Login({"Cookie": f"tryton_session={...}"})

class Employees(Stream[TrytonEmployee]):
    key, cursor = "id", Cursor("write_date", lookback=timedelta(minutes=1))   # no param: it enters the body

    def first_request(self, since: CursorValue | None) -> Request:
        return Request.post_json("/rpc/", {"method": "model.company.employee.search_read", "params": [...]})

    def next_request(self, response: Response, request: Request) -> Request | None:
        ...                                                                   # json.loads(request.body) has the offset

    def records_in(self, response: Response) -> Sequence[bytes]:
        return response.slices("result")                                      # or encode(...) of reshaped records
```
"""

from sluice.connector.auth import ApiKeyAuth, Auth, BasicAuth, Door, Login, NoAuth, SessionAuth
from sluice.connector.connector import Connector, ConnectorSettings
from sluice.connector.cursor import Cursor, CursorValue
from sluice.connector.messages import Request, Response
from sluice.connector.oauth2 import OAuth2ClientCredentials
from sluice.connector.odata import ODataStream
from sluice.connector.paging import LinkHeader, NextLink, Offset, Paging, SinglePage
from sluice.connector.record import Record
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
    "Record",
    "Request",
    "Response",
    "RestStream",
    "SessionAuth",
    "SinglePage",
    "Stream",
    "Transient",
    "decode",
    "encode",
]
