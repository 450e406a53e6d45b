"""Tryton's JSON-RPC API as a polled source: `search_read` over models, followed by the dates of everything read.

A record here is made of several Tryton records: an employee's name lives in its party. So a record has changed when
any of these has, and both the question ("changed since") and the cursor look at all their dates.
"""

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import SecretStr

from sluice.connector import (
    Auth,
    Connector,
    ConnectorSettings,
    Cursor,
    CursorValue,
    Door,
    EnvironmentFault,
    Login,
    NotJson,
    Request,
    Response,
    SessionAuth,
    SourceRecord,
    Stream,
    Transient,
)
from sluice.connector.stream import Model

from .mapping import TrytonEmployee, TrytonLine

RPC = "/rpc/"
NOT_NOW = ("ConcurrencyException", "TimeoutException")


class TrytonSettings(ConnectorSettings):
    """`base_url` ends in the database's name: `https://erp.example.com/company`."""

    user: str
    password: SecretStr


class TrytonLogin(SessionAuth):
    """A Tryton session: a login call gives a token, which goes into a header of its own scheme.

    The session's cookie is marked Secure and would not travel over plain HTTP; the header always does.
    """

    def __init__(self, settings: TrytonSettings) -> None:
        super().__init__()
        self._settings = settings

    def login(self, door: Door) -> Login:
        """Log in. Raises EnvironmentFault for wrong credentials, Transient while the server cannot say."""
        parameters = {"password": self._settings.password.get_secret_value()}
        answer = door.send(rpc("common.db.login", [self._settings.user, parameters, "en"]))
        if answer.status in (401, 403):
            settings = f"{door.setting('user')} and {door.setting('password')}"
            raise EnvironmentFault("Tryton login", "user or password is wrong", f"check {settings}")
        if answer.status == 404:
            raise EnvironmentFault("Tryton login", "no such database", f"check {door.setting('base_url')}")
        if answer.status != 200:
            raise Transient(f"Tryton login: status {answer.status}")
        user_id, token = result_of(answer)[:2]
        session = f"{self._settings.user}:{user_id}:{token}"
        return Login({"Authorization": "Session " + base64.b64encode(session.encode()).decode("ascii")})


class TrytonStream(Stream[Model]):
    """Records of one Tryton model, paged by id, so that no row shifts between pages while others come and go.

    `reads`: the fields. `related`: dotted paths of the records whose changes are changes of this one.

    Tryton dates a change by the begin of its transaction, so one that commits late lies behind what was read before:
    up to ten seconds of that every poll looks back, more is found by the next complete enumeration.
    """

    key = "id"
    cursor = Cursor("write_date", lookback=timedelta(seconds=10))
    listings_before_delete = 1
    page_size: ClassVar[int] = 500
    tryton_model: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    related: ClassVar[tuple[str, ...]] = ()

    def first_request(self, since: CursorValue | None) -> Request:
        fields = [*self.reads, *self._dates()]
        domain = [self._changed_since(since), ["id", ">", 0]]
        # Without active_test=False, Tryton hides who has left: they would be taken for deleted.
        parameters = [domain, 0, self.page_size, [["id", "ASC"]], fields, {"active_test": False}]
        return rpc(f"model.{self.tryton_model}.search_read", parameters)

    def next_request(self, response: Response, request: Request) -> Request | None:
        page = result_of(response)
        if len(page) < self.page_size:
            return None
        call = json.loads(request.body or b"")
        call["params"][0][1] = ["id", ">", page[-1]["id"]]
        return rpc(call["method"], call["params"])

    def records_in(self, response: Response) -> Sequence[bytes]:
        result_of(response)
        return response.slices("result")

    def cursor_of(self, record: SourceRecord) -> CursorValue | None:
        """The latest date of the record and of all related ones, in UTC as Tryton keeps it."""
        value = record.value
        dates = [tryton_time(read_path(value, path)) for path in self._dates()]
        known = [date for date in dates if date is not None]
        return max(known).isoformat(timespec="microseconds") if known else None

    def _dates(self) -> list[str]:
        owners = ["", *(f"{path}." for path in self.related)]
        return [f"{owner}{date}" for owner in owners for date in ("create_date", "write_date")]

    def _changed_since(self, since: CursorValue | None) -> list[Any]:
        if since is None:
            return []
        moment = json_time(datetime.fromisoformat(str(since)))
        return ["OR", *([path, ">=", moment] for path in self._dates())]


class Employees(TrytonStream[TrytonEmployee]):
    """Employees with the name and code of their party and of their company."""

    tryton_model = "company.employee"
    reads = ("party.name", "party.code", "company.party.name", "start_date", "end_date", "supervisor")
    related = ("party", "company.party")


class MoveLines(TrytonStream[TrytonLine]):
    """Lines of moves with the number and state of the move, the account's code and name, the party's code."""

    tryton_model = "account.move.line"
    reads = (
        *("debit", "credit", "description", "currency.code", "account.code", "account.name"),
        *("move.number", "move.state", "move.date", "party.code"),
    )
    related = ("move", "account", "party")


class Tryton(Connector[TrytonSettings]):
    """A Tryton server and one of its databases."""

    streams: ClassVar = {"employees": Employees, "move_lines": MoveLines}

    def auth(self) -> Auth:
        return TrytonLogin(self.settings)


def rpc(method: str, parameters: list[Any]) -> Request:
    """A JSON-RPC call."""
    return Request.post_json(RPC, {"id": 1, "method": method, "params": parameters})


def result_of(response: Response) -> Any:
    """A call's result. Tryton reports errors with status 200; their text may quote records and is not repeated.

    Raises Transient, EnvironmentFault or NotJson.
    """
    answer = response.json
    if not isinstance(answer, dict):
        raise NotJson("the answer is not an object")
    if "error" in answer:
        kind = answer["error"][0] if isinstance(answer["error"], list) and answer["error"] else None
        if kind in NOT_NOW:
            raise Transient(f"Tryton answers {kind}")
        raise EnvironmentFault(
            "Tryton JSON-RPC", "the call ended in an error", "read the ERP's own log; check modules and access rights"
        )
    if not isinstance(answer.get("result"), list):
        raise NotJson("the answer has no list as its result")
    return answer["result"]


def read_path(record: Any, path: str) -> Any:
    """The value at a dotted field path; Tryton nests what lies behind `party` in the member `party.`."""
    *owners, field = path.split(".")
    for owner in owners:
        record = (record or {}).get(f"{owner}.")
    return (record or {}).get(field)


def tryton_time(value: Any) -> datetime | None:
    """Tryton's JSON of a time (`{"__class__": "datetime", "year": …}`), in UTC without saying so; null is None."""
    if value is None:
        return None
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return datetime(*(value[part] for part in parts))


def json_time(moment: datetime) -> dict[str, Any]:
    """The way back."""
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {"__class__": "datetime", **{part: getattr(moment, part) for part in parts}}
