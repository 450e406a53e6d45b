"""The HR API behaves like the APIs that the poller has to live with: pages, tokens, limits, faults."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from support.waiting import eventually
from support.workforce import SECRET, HrClient, hr_server

QUIET = ["--workers", "500", "--edits-per-second", "0", "--requests-per-second", "0", "--error-rate", "0"]


@pytest.fixture
def hr(tmp_path: Path) -> Iterator[HrClient]:
    """500 workers, no edits, no limits; the client is signed in."""
    with hr_server(tmp_path, QUIET) as client:
        yield client.sign_in()


def test_all_pages_together_list_every_worker_once_in_order_of_change(hr: HrClient) -> None:
    records = hr.all(limit=7)
    assert len(records) == 500
    places = [(record["updatedAt"], record["id"]) for record in records]
    assert places == sorted(set(places))
    assert len({updated_at for updated_at, _ in places}) < 500, "ties of updatedAt, or the tie-break is not tried"


def test_pages_stay_complete_while_workers_change_between_them(hr: HrClient) -> None:
    pages = hr.pages(limit=50)
    first = next(pages)
    hr.admin(f"workers/{first[0]['id']}", jobTitle="Nurse")
    hr.http.delete(f"/_admin/workers/{first[1]['id']}")
    later = [record for page in pages for record in page]
    assert {record["id"] for record in [*first, *later]} == {f"W-{number}" for number in range(1, 501)}
    assert later[-1]["id"] == first[0]["id"]
    assert later[-1]["jobTitle"] == "Nurse"


def test_asking_from_a_time_on_lists_what_changed_at_or_after_it(hr: HrClient) -> None:
    newest = hr.all()[-1]["updatedAt"]
    changed = [hr.admin(f"workers/W-{number}", jobTitle="Nurse") for number in (3, 1, 2)]
    listed = hr.all(updated_from=changed[0]["updatedAt"])
    assert [record["id"] for record in listed] == ["W-3", "W-1", "W-2"]
    assert newest < changed[0]["updatedAt"]


def test_a_deleted_worker_is_not_listed_and_leaves_no_trace(hr: HrClient) -> None:
    hr.http.delete("/_admin/workers/W-5").raise_for_status()
    assert "W-5" not in {record["id"] for record in hr.all()}
    assert hr.get("/workers/W-5").status_code == 404


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"cursor": "no"}, {"updated_from": "x"}, {"page": 2}])
def test_a_question_that_makes_no_sense_is_refused(hr: HrClient, query: dict[str, str | int]) -> None:
    assert hr.http.get("/workers", params=query).status_code == 400


def test_a_wrong_secret_gets_the_error_that_oauth_prescribes(hr: HrClient) -> None:
    answer = hr.token(secret="wrong")
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})


def test_the_secret_may_stand_in_the_form(hr: HrClient) -> None:
    form = {"grant_type": "client_credentials", "client_id": "sluice", "client_secret": SECRET}
    assert hr.http.post("/oauth/token", data=form).json()["token_type"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer 1.x", "Bearer 99999999999999.abc", "Basic YTpi"])
def test_without_a_token_of_ours_nothing_is_listed(hr: HrClient, header: str) -> None:
    assert hr.http.get("/workers", headers={"Authorization": header}).status_code == 401


def test_a_token_ends(tmp_path: Path) -> None:
    with hr_server(tmp_path, [*QUIET, "--token-lifetime-s", "0"]) as client:
        answer = client.sign_in().get()
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token"})
        assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_tokens_can_be_ended_all_at_once(hr: HrClient) -> None:
    hr.admin("expire-tokens")
    assert hr.get().status_code == 401
    assert hr.sign_in().get().status_code == 200


def test_a_client_that_asks_too_often_gets_a_retry_after(tmp_path: Path) -> None:
    with hr_server(tmp_path, [*QUIET, "--requests-per-second", "0.01", "--burst", "3"]) as client:
        client.sign_in()
        answers = [client.get() for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 100


def test_errors_come_at_the_rate_and_in_the_order_of_the_seed(tmp_path: Path) -> None:
    def statuses(directory: Path) -> list[int]:
        directory.mkdir()
        with hr_server(directory, [*QUIET, "--error-rate", "0.2"]) as client:
            client.sign_in()
            return [client.get(limit=1).status_code for _ in range(50)]

    first = statuses(tmp_path / "a")
    assert 2 < first.count(500) < 25
    assert statuses(tmp_path / "b") == first


def test_the_next_answers_are_spoilt_as_asked_and_then_no_more(hr: HrClient) -> None:
    for kind, status in (("error", 500), ("throttle", 429), ("html", 200)):
        hr.admin("faults", kind=kind, count=2)
        answers = [hr.get() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [status, status, 200]
        assert answers[2].json()["data"]
    hr.admin("faults", kind="html")
    assert hr.get().headers["Content-Type"].startswith("text/html")


def test_a_page_can_end_before_its_promised_length(hr: HrClient) -> None:
    hr.admin("faults", kind="short_body")
    with pytest.raises(httpx2.RemoteProtocolError):
        hr.get()


def test_a_page_can_end_in_the_middle_of_its_json(hr: HrClient) -> None:
    hr.admin("faults", kind="cut_json")
    answer = hr.get()
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_page_can_have_a_record_without_key_or_no_record(hr: HrClient) -> None:
    hr.admin("faults", kind="keyless")
    assert ["id" in record for record in hr.get(limit=3).json()["data"]] == [False, True, True]
    hr.admin("faults", kind="empty")
    assert hr.get().json() == {"data": [], "links": {"next": None}}


def test_an_unknown_fault_is_refused(hr: HrClient) -> None:
    assert hr.http.post("/_admin/faults", json={"kind": "flood"}).status_code == 400


def test_life_goes_on_until_it_is_frozen(tmp_path: Path) -> None:
    with hr_server(tmp_path, ["--workers", "100", "--edits-per-second", "500"]) as client:
        eventually(lambda: client.http.get("/_admin/stats").json()["changes"] >= 100, "life")
        frozen = client.admin("freeze")["changes"]
        assert client.admin("step")["kind"] == "frozen"
        assert client.http.get("/_admin/stats").json()["changes"] == frozen
        client.admin("freeze", frozen=False)
        assert client.admin("step")["kind"] != "frozen"


def test_edits_survive_a_restart(tmp_path: Path) -> None:
    with hr_server(tmp_path, QUIET) as client:
        edited = client.admin("workers/W-1", jobTitle="Astronaut")
    with hr_server(tmp_path, QUIET) as client:
        assert client.sign_in().get("/workers/W-1").json() == edited


def test_a_member_can_be_null_or_gone(hr: HrClient) -> None:
    record = hr.hire("W-900", employeeNumber="E-00900", email=None, pay=1)
    assert record["email"] is None
    assert "pay" not in hr.admin("workers/W-900", **{"$remove": ["pay"]})


def test_an_edit_of_who_is_gone_is_refused_and_makes_no_record(hr: HrClient) -> None:
    hr.http.delete("/_admin/workers/W-5").raise_for_status()
    answer = hr.http.post("/_admin/workers/W-5", json={"jobTitle": "Nurse"})
    assert (answer.status_code, answer.json()) == (404, {"error": "no such worker"})
    assert hr.http.delete("/_admin/workers/W-5").status_code == 404
    assert "W-5" not in {record["id"] for record in hr.all()}


def test_earlier_versions_of_a_record_are_known_until_its_worker_is_deleted(hr: HrClient) -> None:
    first = hr.http.get("/_admin/workers/W-6").json()
    second = hr.admin("workers/W-6", jobTitle="Nurse")
    hr.admin("workers/W-6", jobTitle="Midwife")
    assert hr.http.get("/_admin/workers/W-6/earlier").json() == [second, first]
    hr.http.delete("/_admin/workers/W-6")
    assert hr.http.get("/_admin/workers/W-6/earlier").json() == []


def test_health_needs_no_token(hr: HrClient) -> None:
    assert httpx2.head(f"{hr.url}/health").status_code == 200
