"""Faults of servers, sources, settings and records around a running pipeline. Each time the error is clear, other
records arrive, and nothing is lost afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from confluent_kafka import Message
from psycopg.conninfo import conninfo_to_dict

from sluice.stage.batch import OUTPUT_BYTES_MAX
from support.scenario import Scenario, scenario
from support.scenario_dead_letters import ParkedRecord, dead_letters, put
from support.scenario_doubles import readable
from support.scenario_sources import Sources
from support.servers import kill
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CONTENT = "Quirin Ofterdinger"  # a name that no source has and no log may show
IBAN = "DE00123456780000424242"
SECRET = "a-secret-that-no-one-may-read-7d1f"


@pytest.fixture(scope="module")
def workforce() -> Iterator[Scenario]:
    """The pipeline on servers of its own, which a test may kill."""
    with scenario(workers=120, ledger_entries=150, partitions=2) as running:
        running.await_ready()
        running.await_truth(180)
        yield running


@pytest.fixture
def sources(workforce: Scenario) -> Sources:
    return Sources(workforce.run.env)


@pytest.fixture(autouse=True)
def silent_logs(workforce: Scenario) -> Iterator[None]:
    """No stage's log contains a secret or the content of a record. Only lines of the test itself are searched."""
    before = {stage: len(workforce.log(stage)) for stage in workforce.run.stages}
    yield
    words = [CONTENT, *CONTENT.split(), IBAN, SECRET, workforce.run.env["HR_CLIENT_SECRET"]]
    words.append(str(conninfo_to_dict(workforce.run.env["FINANCE_DSN"])["password"]))
    for stage in workforce.run.stages:
        found = [word for word in words if word in workforce.log(stage)[before[stage] :]]
        assert not found, f"the log of {stage} shows {found}"


def kinds(workforce: Scenario, stage: str, *places: tuple[str, int, int]) -> list[str]:
    """The kinds of the dead letters of `stage` for these records, in their order; "" for a record without one."""
    letters = dead_letters(workforce.servers.kafka.bootstrap_servers, stage)
    by_place = {(letter.topic, letter.partition, letter.offset): letter.kind for letter in letters}
    return [by_place.get(place, "") for place in places]


def dead_letters_of(workforce: Scenario, stage: str, key: bytes) -> list[ParkedRecord]:
    found = dead_letters(workforce.servers.kafka.bootstrap_servers, stage)
    return [letter for letter in found if letter.key is not None and key in letter.key]


# ── servers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_broker_killed_and_restarted_costs_no_record_and_no_stage(workforce: Scenario, sources: Sources) -> None:
    before = {name: stage.pid for name, stage in workforce.run.stages.items()}
    live = workforce.run.live(60.0, None, seed=11)
    workforce.await_edits(live, 60)
    kill(workforce.servers, "kafka")
    try:
        for stage in workforce.run.stages:
            workforce.await_fault(stage, "Kafka at ", " does not answer")
    finally:
        workforce.servers.restart("kafka")
    workforce.await_ready("ingress-cdc", "mapper")
    live.stop()
    workforce.await_ready()
    workforce.assert_whole()
    assert {name: stage.pid for name, stage in workforce.run.stages.items()} == before


def test_a_postgres_killed_and_restarted_costs_no_row_and_no_stage(workforce: Scenario, sources: Sources) -> None:
    before = {name: stage.pid for name, stage in workforce.run.stages.items()}
    for number in range(20, 60):
        sources.promote(number, f"Archivist {number}")
    kill(workforce.servers, "postgres")
    try:
        for number in range(40, 80):
            sources.promote(number, f"Librarian {number}")
        workforce.await_fault("sink-postgres", "warehouse")
        workforce.await_fault("ingress-cdc", "finance")
    finally:
        workforce.servers.restart("postgres")
    workforce.await_ready()
    for employee in sources.paid(30):
        sources.raise_pay(employee, 5_000)
    workforce.assert_whole()
    assert {name: stage.pid for name, stage in workforce.run.stages.items()} == before


def test_without_the_registry_running_stages_go_on_and_known_ones_start(workforce: Scenario, sources: Sources) -> None:
    kill(workforce.servers, "registry")
    try:
        sources.promote(3, "Beekeeper")
        workforce.await_truth()
        for stage in ("merger", "sink-postgres"):
            workforce.run.stop(stage)
        sources.promote(3, "Cartographer")
        workforce.run.start("merger", "sink-postgres")
        workforce.await_truth()
    finally:
        workforce.servers.restart("registry")
    workforce.assert_whole()


def test_a_stage_that_never_saw_the_registry_says_so_and_starts_when_it_is_back(
    workforce: Scenario, sources: Sources
) -> None:
    workforce.run.stop("merger")
    kill(workforce.servers, "registry")
    try:
        shutil.rmtree(workforce.run.settings.state_dir / "schemas")
        sources.promote(4, "Glazier")
        logged = len(workforce.log("merger"))
        workforce.run.start("merger")
        workforce.await_log("merger", logged, "schema registry http://", "SLUICE_REGISTRY__URL")
    finally:
        workforce.servers.restart("registry")
    workforce.await_ready()
    workforce.assert_whole()


# ── the HR API ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "count", "said"),
    [
        ("error", 3, "status 500"),
        ("html", 2, "content-type text/html"),
        ("cut_json", 2, "page refused whole"),
        ("short_body", 2, "/workers"),
    ],
)
def test_a_bad_answer_of_the_api_is_refused_whole_and_asked_for_again(
    workforce: Scenario, sources: Sources, kind: str, count: int, said: str
) -> None:
    logged = len(workforce.log("ingress-poller"))
    sources.spoil(kind, count)
    sources.promote(5, f"Restorer after {kind}")
    eventually(lambda: sources.spoilt_left() == 0, f"{kind} to be met", 120, workforce.states)
    workforce.await_truth()
    news = workforce.log("ingress-poller")[logged:]
    assert said in news
    assert sources.hr_url in news
    assert '"retry_in_s"' in news
    workforce.assert_whole()


def test_an_api_that_returns_no_records_deletes_no_one(workforce: Scenario, sources: Sources) -> None:
    sources.spoil("empty", 3)
    eventually(lambda: sources.spoilt_left() == 0, "the empty pages to be met", 60, workforce.states)
    sources.promote(6, "Ferryman")
    workforce.assert_whole()


def test_a_record_without_its_id_is_parked_and_its_page_goes_on(workforce: Scenario, sources: Sources) -> None:
    before = len(dead_letters(workforce.servers.kafka.bootstrap_servers, "ingress-poller"))
    sources.promote(7, "Cooper")
    sources.promote(8, "Wainwright")
    sources.spoil("keyless")
    eventually(lambda: sources.spoilt_left() == 0, "the page to be met", 60, workforce.states)
    workforce.assert_whole()
    letters = dead_letters(workforce.servers.kafka.bootstrap_servers, "ingress-poller")[before:]
    assert [(letter.topic, letter.kind) for letter in letters] == [("raw.hr.workers", "unreadable-key")]


def test_a_wrong_oauth_secret_is_reported_with_url_and_setting_and_finance_flows_on(
    workforce: Scenario, sources: Sources
) -> None:
    workforce.start_with("ingress-poller", {"HR_CLIENT_SECRET": SECRET})
    why = workforce.await_fault("ingress-poller", "invalid_client")
    assert f"{sources.hr_url}/oauth/token" in why
    assert "sources.hr.settings.client_secret" in why
    sources.raise_pay(sources.paid(1)[0], 6_001)
    workforce.await_truth()  # HR is as it was: only finance has changed
    sources.promote(9, "Falconer")
    workforce.start_with("ingress-poller", {})
    workforce.await_ready("ingress-poller")
    workforce.assert_whole()


# ── records ───────────────────────────────────────────────────────────────────────────────────────────────────────


def worker_json(**members: object) -> bytes:
    """A polled worker in which only the given members are wrong."""
    record = {"id": "X-1", "employeeNumber": "X-1", "updatedAt": "2026-01-01T00:00:00Z", "name": CONTENT}
    return orjson.dumps({**record, **members})


def payroll_json(**columns: object) -> bytes:
    """A change event of a payroll in which only the given columns are wrong."""
    row = {"employee_number": "X-1", "base_pay": "1.00", "currency": "EUR", "iban": IBAN, "cost_centre": None}
    row |= {"notes": None, "effective_from": None, "updated_at": "2026-01-01T00:00:00Z"}
    source = {"ts_ms": 1_767_225_600_000, "ts_us": 1_767_225_600_000_000}
    return orjson.dumps({"op": "c", "before": None, "after": {**row, **columns}, "source": source})


HR, PAYROLL = "raw.hr.workers", "raw.finance.public.payroll"
BAD_RECORDS = [
    (HR, "not-json", b'{"name": "' + CONTENT.encode() + b'", '),
    (HR, "not-json", b'{"name": "' + CONTENT.encode() + b'\xff\xfe"}'),
    (HR, "not-json", b'["' + CONTENT.encode() + b'"]'),
    (HR, "missing-member", orjson.dumps({"id": "X-1", "name": CONTENT, "updatedAt": "2026-01-01T00:00:00Z"})),
    (HR, "wrong-type", worker_json(updatedAt={"when": CONTENT})),
    (HR, "wrong-type", worker_json(employeeNumber=[CONTENT])),
    (HR, "nul-character", worker_json(name=f"{CONTENT}\0")),
    (HR, "mapping-failed", worker_json(startDate=CONTENT)),
    (PAYROLL, "not-json", b"\x01\x01 " + IBAN.encode()),
    (PAYROLL, "unknown-schema", b"\x00\x01 " + IBAN.encode()),  # a zero byte begins a record in Avro
    (PAYROLL, "bad-envelope", orjson.dumps({"op": "c", "iban": IBAN})),
    (PAYROLL, "missing-member", orjson.dumps({"op": "c", "after": {"iban": IBAN}, "source": {"ts_ms": 1}})),
    (PAYROLL, "wrong-type", payroll_json(base_pay=IBAN)),
    (PAYROLL, "nul-character", payroll_json(notes=f"{IBAN}\0")),
]


def test_bad_raw_records_are_parked_each_for_its_cause_and_the_rest_flows_on(
    workforce: Scenario, sources: Sources
) -> None:
    servers = workforce.servers.kafka.bootstrap_servers
    places, wanted = [], []
    [(lsn,)] = sources.finance("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")
    for number, (topic, kind, value) in enumerate(BAD_RECORDS):
        key = orjson.dumps({"id" if topic == HR else "employee_number": f"X-{number}"})
        position = b"1:%d:%d" % (4611686018427387904 if topic == HR else lsn, number)
        places.append(put(servers, topic, key, value, [("sluice-position", position), ("sluice-op", b"u")]))
        wanted.append(kind)
    for kind, key, headers in (
        ("no-position", b'{"id":"X-90"}', []),
        ("bad-position", b'{"id":"X-91"}', [("sluice-position", b"yesterday")]),
        ("bad-key", CONTENT.encode(), [("sluice-position", b"1:4611686018427387904:92")]),
    ):
        places.append(put(servers, HR, key, worker_json(), headers))
        wanted.append(kind)
    sources.promote(10, "Luthier")
    workforce.await_truth()
    report = workforce.verified()
    # Three of them are change events of rows that no table has.
    assert dict(report.counts) == {"source-raw": 3}, "\n".join(report.lines())
    for number, (topic, _, _) in enumerate(BAD_RECORDS):
        if topic == PAYROLL:
            put(servers, topic, b'{"employee_number":"X-%d"}' % number, None, [("sluice-position", b"1:%d:99" % lsn)])
    workforce.assert_whole()
    assert kinds(workforce, "mapper", *places) == wanted
    text = repr([letter.message for letter in dead_letters(servers, "mapper")])
    assert CONTENT not in text
    assert IBAN not in text


def test_a_contribution_that_is_none_is_parked_by_the_merger(workforce: Scenario, sources: Sources) -> None:
    servers = workforce.servers.kafka.bootstrap_servers
    place = put(servers, "contributions.worker", b'["X-1"]', b'{"iban": "' + IBAN.encode() + b'"}', [])
    sources.promote(11, "Thatcher")
    workforce.assert_whole()
    assert kinds(workforce, "merger", place) == ["bad-contribution"]


def test_a_canonical_record_that_is_none_is_parked_by_the_sink(workforce: Scenario, sources: Sources) -> None:
    servers = workforce.servers.kafka.bootstrap_servers
    place = put(servers, "canonical.worker", b"X-1", b"\x07" + CONTENT.encode(), [])
    sources.promote(12, "Fletcher")
    workforce.await_truth()
    eventually(lambda: kinds(workforce, "sink-postgres", place) == ["bad-avro"], "the dead letter", 60)
    put(servers, "canonical.worker", b"X-1", None, [])  # it was ours alone, and no merger will take it back
    workforce.assert_whole()


def weight(message: Message) -> int:
    """The bytes of a message: key, value and headers."""
    headers: Any = message.headers() or ()
    return len(message.key() or b"") + len(message.value() or b"") + sum(len(n) + len(v) for n, v in headers)


def weights(servers: str) -> dict[str, tuple[int, int]]:
    """For each worker that both sources know: the bytes of the payroll's contribution and of the golden record, both
    without the notes."""
    claims: dict[str, tuple[int, int]] = {}
    for message in readable(servers, ["contributions.worker"]):
        claim = orjson.loads(message.value() or b"{}") if (message.key() or b"").startswith(b"[") else {}
        if claim.get("source") == "finance" and "payroll_notes" in claim["fields"]:
            notes = len(claim["fields"]["payroll_notes"] or "")
            claims[claim["entity_id"]] = (weight(message) - notes, notes)
    goldens = {bytes(message.key() or b"").decode(): message for message in readable(servers, ["canonical.worker"])}
    return {
        worker: (claim_weight, weight(goldens[worker]) - notes)
        for worker, (claim_weight, notes) in claims.items()
        if b"hr" in (goldens[worker].value() or b"")
    }


def test_a_change_too_large_for_a_stage_is_parked_there_and_the_next_one_arrives(
    workforce: Scenario, sources: Sources
) -> None:
    servers = workforce.servers.kafka.bootstrap_servers
    known = weights(servers)
    merged, *others = sorted(known, key=lambda worker: known[worker][0] - known[worker][1])
    # A contribution that just fits its topic makes a golden record that does not: that says what HR knows, too.
    assert known[merged][1] - known[merged][0] > 64, "no golden record weighs more than the contribution to it"
    fitting = OUTPUT_BYTES_MAX - sum(known[merged]) // 2
    sizes = {"merger": fitting, "mapper": 8_340_000, "ingress-cdc": 8_500_000}
    employees = dict(zip(sizes, [merged, *others], strict=False))
    notes = {employee: sources.notes(employee) for employee in employees.values()}
    try:
        for stage, employee in employees.items():
            sources.annotate(employee, (CONTENT + "." * sizes[stage])[: sizes[stage]])
        sources.promote(14, "Tinsmith")

        found: dict[str, str] = {}

        def parked() -> bool:
            workforce.run.watch()
            letters = {
                stage: dead_letters_of(workforce, stage, employee.encode()) for stage, employee in employees.items()
            }
            found.update({stage: of[0].kind for stage, of in letters.items() if of})
            return found.keys() == employees.keys()

        eventually(parked, "the dead letters", 120, lambda: f"{found}\n{workforce.states()}")
        assert found == {"merger": "output-too-large", "mapper": "output-too-large", "ingress-cdc": "too-large"}
        assert CONTENT not in repr([letter.message for stage in sizes for letter in dead_letters(servers, stage)])
        assert_only_a_large_row_is_reported(workforce)
        lacking = {line.split(".")[0].split(":")[0] for line in workforce.differences()}
        assert lacking <= {f"worker {employee}" for employee in employees.values()}

        # Left out of the change, `notes` must not be filled with what stood there before.
        for employee in employees.values():
            sources.raise_pay(employee, 8_001)
        sources.promote(14, "Ropemaker")
        eventually(
            lambda: len(dead_letters_of(workforce, "mapper", employees["ingress-cdc"].encode())) > 1,
            "a dead letter",
            120,
        )
        assert_only_a_large_row_is_reported(workforce)
    finally:
        for employee, text in notes.items():
            sources.annotate(employee, text)
        done = workforce.command("cdc", "resnapshot", "finance", "--table", "public.payroll")
    assert done.returncode == 0, done.stderr
    workforce.await_ready("ingress-cdc")  # it was not, until the table is read again
    workforce.assert_whole()


def assert_only_a_large_row_is_reported(workforce: Scenario) -> None:
    """Nothing is wrong but what the fault of the table says, once what passes by itself has passed."""
    unable: list[str] = []

    def alone() -> bool:
        report = workforce.verified(wait_s=2)
        assert not +report.counts, "\n".join(report.lines())
        unable[:] = [str(one) for one in report.not_checked if one.kind == "unable"]
        return bool(unable) and all("public.payroll" in one for one in unable)

    eventually(alone, "no other fault to be active", 60, lambda: "\n".join(unable))
    assert any("a row is larger than a raw topic takes" in one for one in unable), unable


# ── the replication slot ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_slot_re_created_while_no_process_followed_it_is_refused_until_a_resnapshot(
    workforce: Scenario, sources: Sources
) -> None:
    slot = sources.finance("SELECT slot_name, plugin FROM pg_replication_slots WHERE database = current_database()")[0]
    workforce.run.stop("ingress-cdc")
    first, second, third, *_ = sources.paid(5)
    sources.raise_pay(first, 7_001)
    sources.finance("DELETE FROM public.payroll WHERE employee_number = %s", second)
    sources.finance("SELECT pg_drop_replication_slot(%s)", slot[0])
    sources.finance("SELECT pg_create_logical_replication_slot(%s, %s)", *slot)
    sources.raise_pay(third, 7_002)
    workforce.run.start("ingress-cdc")
    why = workforce.await_fault("ingress-cdc", "created again")
    assert str(slot[0]) in why
    assert "sluice cdc resnapshot finance" in why
    lacking = workforce.differences()
    assert len(lacking) >= 3, "the gap does not show: the test proves nothing"
    sources.promote(13, "Chandler")

    def hr_flows() -> bool:
        return workforce.differences() == lacking

    eventually(hr_flows, "the HR edit to arrive in spite of the refusal", 60, workforce.states)
    done = workforce.command("cdc", "resnapshot", "finance")
    assert done.returncode == 0, done.stderr
    workforce.await_ready("ingress-cdc")
    workforce.assert_whole()
