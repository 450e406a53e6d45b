"""The Tryton connector's requests and its reading of answers, without a server."""

import json
from typing import Any

import pytest

from sluice.connector import EnvironmentFault, NotJson, Request, Response, SourceRecord, Transient, encode
from support.tryton import connector, example_records

SINCE = "2026-03-01T12:30:15.000007"
MOMENT = {
    "__class__": "datetime",
    "year": 2026,
    "month": 3,
    "day": 1,
    "hour": 12,
    "minute": 30,
    "second": 15,
    "microsecond": 7,
}


def parameters(request: Request) -> list[Any]:
    asked: list[Any] = json.loads(request.body or b"")["params"]
    return asked


def answer(body: object) -> Response:
    return Response(Request("POST", "/rpc/"), 200, {}, encode(body))


def test_an_employee_counts_as_changed_when_its_party_was() -> None:
    domain = parameters(connector().stream("employees").first_request(SINCE))[0]
    changed, _ = domain
    assert changed[0] == "OR"
    assert ["party.write_date", ">=", MOMENT] in changed
    assert ["write_date", ">=", MOMENT] in changed
    assert ["create_date", ">=", MOMENT] in changed


def test_a_ledger_line_counts_as_changed_when_its_move_was() -> None:
    changed, _ = parameters(connector().stream("move_lines").first_request(SINCE))[0]
    assert ["move.write_date", ">=", MOMENT] in changed


def test_every_date_that_is_asked_for_is_also_read() -> None:
    for name in ("employees", "move_lines"):
        (changed, _), _, _, _, fields, _ = parameters(connector().stream(name).first_request(SINCE))
        assert {path for path, _, _ in changed[1:]} <= set(fields)


def test_a_complete_enumeration_also_lists_who_has_left() -> None:
    (changed, _), *_, context = parameters(connector().stream("employees").first_request(None))
    assert changed == []
    assert context == {"active_test": False}


def test_the_cursor_is_the_latest_date_of_the_record_and_of_what_it_refers_to() -> None:
    record = example_records("erp_api", "employees")["never_changed"]
    record["party."]["write_date"] = MOMENT | {"year": 2031}
    cursor = connector().stream("employees").cursor_of(SourceRecord(encode(record)))
    assert cursor == "2031-03-01T12:30:15.000007"


def test_a_record_that_was_never_changed_has_the_dates_of_its_creation_as_cursor() -> None:
    record = example_records("erp_api", "employees")["never_changed"]
    record |= {"create_date": MOMENT, "write_date": None, "party.": None, "company.": None}
    assert connector().stream("employees").cursor_of(SourceRecord(encode(record))) == SINCE


def test_a_record_without_any_date_states_no_cursor() -> None:
    assert connector().stream("employees").cursor_of(SourceRecord(b'{"id":1}')) is None


def test_the_next_page_begins_behind_the_last_id_and_asks_for_the_same_otherwise() -> None:
    stream = connector().stream("employees")
    first = stream.first_request(SINCE)
    size = parameters(first)[2]
    full = answer({"id": 1, "result": [{"id": n} for n in range(1, size + 1)]})
    following = stream.next_request(full, first)
    assert following is not None
    assert parameters(following)[0] == [parameters(first)[0][0], ["id", ">", size]]
    assert parameters(following)[1:] == parameters(first)[1:]


def test_a_page_that_is_not_full_is_the_last() -> None:
    stream = connector().stream("employees")
    assert stream.next_request(answer({"id": 1, "result": [{"id": 4}]}), stream.first_request(None)) is None


def test_records_are_cut_out_as_tryton_wrote_them() -> None:
    body = b'{"id":1,"result":[{"id":1, "name":"\\u00e9"},{"id":2}]}'
    response = Response(Request("POST", "/rpc/"), 200, {}, body)
    assert list(connector().stream("employees").records_in(response)) == [b'{"id":1, "name":"\\u00e9"}', b'{"id":2}']


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (["ConcurrencyException", ["somebody wrote it"]], Transient),
        (["'nope'", "Traceback …"], EnvironmentFault),
        ([], EnvironmentFault),
        (None, EnvironmentFault),
    ],
)
def test_an_error_with_status_200_is_never_an_empty_page(error: object, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        connector().stream("employees").records_in(answer({"id": 1, "error": error}))


def test_an_error_does_not_repeat_what_tryton_said() -> None:
    said = answer({"id": 1, "error": ["UserError", ["Ivana García cannot be read", ""]]})
    with pytest.raises(EnvironmentFault) as caught:
        connector().stream("employees").records_in(said)
    assert "García" not in str(caught.value)


@pytest.mark.parametrize("body", [[], {"id": 1}, {"id": 1, "result": None}, {"id": 1, "result": 3}])
def test_an_answer_without_a_list_of_records_is_refused(body: object) -> None:
    with pytest.raises(NotJson):
        connector().stream("employees").records_in(answer(body))
