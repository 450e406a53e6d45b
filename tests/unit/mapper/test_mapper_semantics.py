"""The cases in which data was lost elsewhere, each played through the mapper's process."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, model_validator

from sluice.cdc.debezium import UNAVAILABLE
from sluice.entities import Entity, Identity, mapping
from sluice.entities.mapping import Mapping
from sluice.state.expiry import DELETED_KEYS_KEPT_S
from support.mapping_bench import MapperBench, position


class Person(Entity):
    number: Annotated[str, Identity()]
    name: str | None
    notes: str | None


class Row(BaseModel):
    id: int
    number: str
    name: str | None = None
    notes: str | None = None


def person(version: int = 1, prefix: str = "") -> Mapping:
    @mapping(source="erp.public.employee", version=version, name="person")
    def claimed(raw: Row) -> Person | None:
        if raw.name == "filtered":
            return None
        if raw.name == "bad":
            raise ValueError("bad")
        return Person(number=raw.number, name=prefix + (raw.name or ""), notes=raw.notes)

    return claimed


def row(key: int, number: str = "E1", name: str = "Ada", notes: str = "some longer notes") -> dict[str, Any]:
    return {"id": key, "number": number, "name": name, "notes": notes}


def test_a_record_becomes_a_claim_at_its_position() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1))
    bench.run()
    claim = bench.newest()["E1/person/main"]
    assert (claim.position, claim.raw.offset, claim.fields["name"]) == (position("1:100:1"), 0, "Ada")
    assert bench.outcomes == ["mapped"]


def test_a_move_between_entities_claims_the_new_one_before_it_retracts_the_old_one() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1, "E1"))
    bench.change(1, "1:200:1", row(1, "E2"))
    bench.run()
    order = [(c.entity_id, c.retracted) for _, c in bench.contributions]
    assert order == [("E1", False), ("E2", False), ("E1", True)]
    assert bench.newest()["E1/person/main"].position == position("1:200:1")


def test_a_delete_that_carries_only_the_key_retracts_what_the_key_claimed() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1))
    bench.change(1, "1:200:1", None)
    bench.append(b'{"id":1}', None, "1:200:1")
    bench.run()
    assert bench.live() == {}
    assert bench.outcomes == ["mapped", "mapped", "unchanged"]


def test_a_parked_record_redriven_after_its_key_was_deleted_claims_nothing() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:3:1", row(1, name="bad"))
    bench.change(1, "1:5:1", None)
    bench.run()
    assert bench.outcomes == ["dead", "unchanged"]
    bench.change(1, "1:3:1", row(1, name="fixed"))  # the same position, as a redrive offers it
    bench.run()
    assert bench.live() == {}
    assert bench.outcomes[-1] == "superseded"


def test_an_unchanged_column_is_filled_from_the_parked_record_that_stated_it() -> None:
    """K@1 'old', K@5 'new' parked, K@6 unchanged: filling from @1 would lose @5 in silence."""
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, notes="old notes"))
    bench.change(1, "1:5:1", row(1, name="bad", notes="new notes"))
    bench.change(1, "1:6:1", row(1, name="Ada", notes=UNAVAILABLE))
    bench.run()
    assert bench.live()["E1/person/main"]["notes"] == "new notes"


class PoppedRow(Row):
    @model_validator(mode="before")
    @classmethod
    def _without_notes(cls, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "name": row.pop("notes")}


@mapping(source="erp.public.employee", version=1)
def popped(raw: PoppedRow) -> Person:
    return Person(number=raw.number, name=raw.name, notes=None)


def test_an_unchanged_column_is_filled_even_if_the_authors_code_took_it_out_of_the_row() -> None:
    bench = MapperBench(popped)
    bench.change(1, "1:100:1", row(1))
    bench.change(1, "1:200:1", row(1, notes=UNAVAILABLE))
    bench.run()
    assert bench.outcomes == ["mapped", "mapped"]
    assert bench.live()["E1/popped/main"]["name"] == "some longer notes"


def test_a_mapping_does_not_see_what_another_ones_validator_changed() -> None:
    bench = MapperBench(popped, person())
    bench.change(1, "1:100:1", row(1))
    bench.run()
    assert bench.live()["E1/person/main"]["notes"] == "some longer notes"


def test_an_unchanged_column_behind_an_undecodable_record_is_parked_never_guessed() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, notes="old notes"))
    bench.append(b'{"id":1}', b"{cut", "1:5:1")
    bench.change(1, "1:6:1", row(1, notes=UNAVAILABLE))
    bench.run()
    assert bench.dead == ["not-json", "unchanged-value-never-seen"]
    assert bench.live()["E1/person/main"]["notes"] == "old notes"


def test_a_redriven_record_is_not_filled_with_a_value_stated_after_it() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:3:1", row(1, notes=UNAVAILABLE))
    bench.change(1, "1:5:1", row(1, name="bad", notes="stated at five"))
    bench.run()
    bench.change(1, "1:3:1", row(1, notes=UNAVAILABLE))
    bench.run()
    assert bench.dead == ["unchanged-value-never-seen", "mapping-failed", "unchanged-value-never-seen"]


def test_a_text_that_reads_like_the_unavailable_mark_is_data() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, notes="old notes"))
    bench.change(1, "1:2:1", row(1, notes=UNAVAILABLE), headers={"sluice-unchanged": b"[]"})
    bench.run()
    assert bench.live()["E1/person/main"]["notes"] == UNAVAILABLE
    bench.change(1, "1:3:1", row(1, name="Bea", notes=UNAVAILABLE))
    bench.run()
    assert bench.live()["E1/person/main"]["notes"] == UNAVAILABLE


def test_a_column_that_is_unknown_is_parked_and_not_filled_by_its_name() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, notes="another column's"))
    unknown = {"sluice-unchanged": b"[]", "sluice-unknown": b'["notes"]'}
    bench.change(1, "1:2:1", row(1, name="Ada", notes=UNAVAILABLE), headers=unknown)
    bench.change(1, "1:3:1", row(1, name="Bea", notes=UNAVAILABLE))
    bench.run()
    assert bench.dead == ["unchanged-value-never-seen", "unchanged-value-never-seen"]
    bench.change(1, "1:4:1", row(1, name="Cyd", notes="its own"))
    bench.run()
    assert bench.live()["E1/person/main"] == {**bench.live()["E1/person/main"], "name": "Cyd", "notes": "its own"}


def test_an_unknown_column_of_a_row_that_was_deleted_by_then_is_no_dead_letter() -> None:
    """A key that moved twice quickly: the record of the one in between cannot be completed, and need not be."""
    bench = MapperBench(person())
    deleted = {"sluice-unchanged": b"[]", "sluice-unknown": b'["notes"]', "sluice-row-gone": b"1"}
    bench.change(2, "1:2:2", row(2, notes=UNAVAILABLE), op="c", headers=deleted)
    bench.change(2, "1:3:1", None)
    bench.change(3, "1:3:2", row(3, notes="whole"), op="c")
    bench.run()
    assert bench.dead == []
    assert bench.outcomes == ["superseded", "unchanged", "mapped"]


@pytest.mark.parametrize("header", [b"notes", b'{"a":1}', b"[1]", b""])
def test_a_header_of_left_out_columns_that_cannot_be_read_parks_its_record(header: bytes) -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1), headers={"sluice-unchanged": header})
    bench.run()
    assert bench.dead == ["bad-envelope"]


def test_a_sweep_retracts_the_keys_seen_strictly_below_it_and_nothing_else() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1, "E1"))
    bench.change(2, "2:500:0", row(2, "E2"), op="r")
    bench.sweep("2:500:0")
    bench.run()
    assert set(bench.live()) == {"E2/person/main"}


def test_a_live_row_parked_in_a_new_snapshot_is_not_swept() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1, "E1"))
    bench.change(1, "2:500:0", row(1, "E1", name="bad"), op="r")
    bench.sweep("2:500:0")
    bench.run()
    assert set(bench.live()) == {"E1/person/main"}


@pytest.mark.parametrize("key", [b'{"$sweep":"payroll"}', b'{"id":1}'])
def test_a_sweep_marker_of_another_stream_is_parked_and_sweeps_nothing(key: bytes) -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1))
    bench.append(key, b"", "2:500:0", {"sluice-op": b"s"})
    bench.change(1, "1:200:1", row(1, name="Grace"))
    bench.run()
    assert bench.dead == ["bad-sweep"]
    assert bench.live()["E1/person/main"]["name"] == "Grace"


@pytest.mark.parametrize("key", [b'{"$partition":0}', b'{"$sweep":"public.employee"}'])
def test_a_key_that_is_reserved_is_parked_and_leaves_no_state(key: bytes) -> None:
    bench = MapperBench(person())
    bench.append(key, b'{"op":"u","source":{"ts_ms":1},"after":{"id":1,"number":"E1"}}', "1:1:1")
    bench.run()
    assert bench.dead == ["bad-key"]
    assert bench.known_keys == set()


def test_an_unreadable_key_below_a_sweep_is_parked_like_any_other() -> None:
    bench = MapperBench(person())
    bench.sweep("2:500:0")
    bench.append(b"17", b"{}", "1:1:1")
    bench.run()
    assert bench.dead == ["bad-key"]


def test_a_record_below_a_sweep_is_always_superseded() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1))
    bench.sweep("2:500:0")
    bench.run()
    bench.rewind(0)
    bench.run()
    assert bench.live() == {}
    assert bench.outcomes[-2:] == ["superseded", "unchanged"]


def test_a_large_sweep_runs_in_slices_and_a_crash_between_them_loses_nothing() -> None:
    bench = MapperBench(person(), slice_keys=3)
    for key in range(10):
        bench.change(key, "1:100:1", row(key, f"E{key}"))
    bench.sweep("2:500:0")
    for _ in range(10):
        bench.step()
    bench.commit()
    assert not bench.step()
    bench.work()
    bench.commit()
    assert bench.busy
    assert 0 < len(bench.live()) < 10
    bench.crash(committed_offset=10)
    bench.run()
    assert bench.live() == {}
    retracted = [c.entity_id for _, c in bench.contributions if c.retracted]
    assert sorted(retracted) == sorted(set(retracted))


def test_a_sweep_retracts_what_a_key_in_debeziums_wrapping_claimed() -> None:
    bench = MapperBench(person())
    value = b'{"op":"c","source":{"ts_ms":1},"after":{"id":1,"number":"E1","name":"Ada"}}'
    bench.append(b'{"schema":{},"payload":{"id":1}}', value, "1:1:1")
    bench.sweep("2:500:0")
    bench.run()
    assert bench.live() == {}
    assert {claim.source_key for _, claim in bench.contributions} == {'{"id":1}'}


def test_a_truncate_takes_effect_at_its_place_in_the_transaction() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1, "E1"))
    bench.change(2, "1:200:1", row(2, "E2"), op="c")
    bench.sweep("1:200:2")
    bench.change(3, "1:200:3", row(3, "E3"), op="c")
    bench.run()
    assert set(bench.live()) == {"E3/person/main"}


def test_a_raised_version_claims_everything_again_and_a_rewind_with_the_same_version_nothing() -> None:
    bench = MapperBench(person(version=1))
    bench.change(1, "1:100:1", row(1))
    bench.run()
    bench.rewind(0)
    bench.run()
    assert len(bench.contributions) == 1
    newer = MapperBench(person(version=2, prefix="Dr "))
    newer.log, newer.state, newer.record = bench.log, bench.state, bench.record
    newer.crash(0)
    newer.run()
    assert newer.live()["E1/person/main"]["name"] == "Dr Ada"


def test_a_filtered_record_retracts_what_its_key_claimed_before() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:100:1", row(1))
    bench.change(1, "1:200:1", row(1, name="filtered"))
    bench.run()
    assert bench.live() == {}


@pytest.mark.parametrize(
    ("key", "value", "headers", "cause"),
    [
        (b'{"id":1}', b"{cut", {}, "not-json"),
        (b'{"id":1}', b'"text"', {}, "not-json"),
        (b'{"id":1}', b'{"a":"\xff"}', {}, "not-json"),
        (b'{"id":1}', b'{"op":"u"}', {}, "bad-envelope"),
        (None, b"{}", {}, "no-key"),
        (b"17", b"{}", {}, "bad-key"),
        (b"{", b"{}", {}, "bad-key"),
        (b'{"id":1}', b"{}", {"sluice-position": b"1:x:2"}, "bad-position"),
    ],
)
def test_a_record_that_can_never_succeed_is_parked_with_its_cause(
    key: bytes | None, value: bytes, headers: dict[str, bytes], cause: str
) -> None:
    bench = MapperBench(person())
    bench.append(key, value, "1:1:1", headers)
    bench.change(2, "1:2:1", row(2))
    bench.run()
    assert bench.dead == [cause]
    assert set(bench.live()) == {"E1/person/main"}


@pytest.mark.parametrize(
    "notes",
    [b"[%d]" % 2**70, b"[1e400]", b'"\\ud83d half an emoji"', b'["\\ud83d"]'],
    ids=["beyond-64-bits", "beyond-a-float", "surrogate", "surrogate-inside"],
)
def test_the_key_is_read_again_after_any_value_of_a_column(notes: bytes) -> None:
    bench = MapperBench(person())
    value = b'{"op":"u","source":{"ts_ms":1},"after":{"id":1,"number":"E1","name":"Ada","other":%b}}' % notes
    bench.append(b'{"id":1}', value, "1:1:1")
    bench.change(1, "1:2:1", {**row(1, name="Grace"), "other": UNAVAILABLE})
    bench.change(1, "1:3:1", row(1, name="Edsger"))
    bench.run()
    assert bench.live()["E1/person/main"]["name"] == "Edsger"


_ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**64, -(10**25), "9" * 12, "\ud83d half", UNAVAILABLE, "1:1:1"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
_ODD_ROW = st.fixed_dictionaries(
    {"id": st.just(1)}, optional={"number": st.just("E1") | _ODD, "name": _ODD, "notes": _ODD, "other": _ODD}
)
_ODD_ENVELOPE = st.fixed_dictionaries(
    {"op": st.sampled_from("cud") | _ODD, "after": _ODD_ROW | _ODD},
    optional={"source": st.fixed_dictionaries({"ts_ms": st.just(1) | _ODD}, optional={"ts_us": _ODD}) | _ODD},
)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["cdc", "poll"]),
    records=st.lists(st.tuples(st.sampled_from("12"), _ODD_ENVELOPE | _ODD_ROW | _ODD), max_size=6),
    headers=st.dictionaries(st.sampled_from(["ce_time", "sluice-op", "traceparent"]), st.binary(max_size=20)),
)
def test_no_foreign_record_ends_the_mapper(
    kind: str, records: list[tuple[str, Any]], headers: dict[str, bytes]
) -> None:
    bench = MapperBench(person(), kind=kind)
    for at, (key, value) in enumerate(records):
        bench.append(b'{"id":%b}' % key.encode(), json.dumps(value).encode(), f"1:{at}:0", headers)
    bench.run()
    assert len(bench.outcomes) == len(records)


def test_a_nul_in_a_value_parks_the_record_without_quoting_it() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, name="Ada\0Lovelace"))
    bench.step()
    letters = [output for output in bench.batch.outputs if output.topic == "dlq.mapper"]
    assert len(letters) == 1
    assert b"Lovelace" not in b"".join(dict(letters[0].headers).values())
    bench.commit()
    assert bench.outcomes == ["dead"]


_STEP = st.tuples(
    st.integers(1, 3),
    st.sampled_from(["Ada", "bad", "filtered", None]),
    st.sampled_from(["E1", "E2"]),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(_STEP, min_size=1, max_size=12), rewinds=st.lists(st.integers(0, 12), max_size=3))
def test_after_any_replay_the_last_readable_claims_are_the_same(
    steps: list[tuple[int, str | None, str, bool]], rewinds: list[int]
) -> None:
    bench = MapperBench(person())
    for index, (key, name, number, unchanged) in enumerate(steps):
        notes = UNAVAILABLE if unchanged else f"notes as of step {index}"
        bench.change(key, f"1:{index + 1}:1", None if name is None else row(key, number, name, notes))
    bench.run()
    before = {name: c.content for name, c in bench.newest().items()}
    for rewind in rewinds:
        bench.rewind(min(rewind, len(bench.log)))
        bench.run()
        after = {name: c.content for name, c in bench.newest().items()}
        assert after == before
    by_key: dict[bytes, Any] = {}
    for key_bytes, claim in bench.contributions:
        assert key_bytes not in by_key or claim.claim_order >= by_key[key_bytes]
        by_key[key_bytes] = claim.claim_order


def test_a_claim_too_large_for_its_topic_is_parked_and_the_older_one_stays() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, notes="short notes"))
    bench.change(1, "1:2:1", row(1, "E2", notes="x" * 8_500_000))
    bench.change(1, "1:3:1", None)
    bench.run()
    assert bench.dead == ["output-too-large"]
    assert bench.outcomes == ["mapped", "dead", "mapped"]
    assert bench.newest()["E1/person/main"].retracted


def test_a_claim_whose_headers_are_too_large_is_parked_too() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1), headers={"traceparent": b"t" * 8_500_000})
    bench.change(2, "1:2:1", row(2, "E2"))
    bench.run()
    assert bench.dead == ["output-too-large"]
    assert bench.live().keys() == {"E2/person/main"}


def test_a_delete_whose_headers_are_too_large_is_parked_and_its_key_counts_as_seen() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1))
    bench.change(1, "2:2:1", None, headers={"traceparent": b"t" * 8_500_000})
    bench.sweep("2:1:1")
    bench.run()
    assert bench.dead == ["output-too-large"]
    assert bench.live().keys() == {"E1/person/main"}
    bench.change(1, "2:2:1", None)
    bench.run()
    assert bench.live() == {}


def test_a_key_too_large_is_parked_and_leaves_no_state() -> None:
    bench = MapperBench(person())
    bench.append(b'{"id":"%b"}' % (b"k" * 2_000_000), None, "1:1:1")
    bench.run()
    assert bench.dead == ["bad-key"]
    assert bench.known_keys == set()


def test_a_change_too_large_for_raw_is_not_filled_from_before_it() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, notes="n" * 100))
    bench.append(b'{"id":1}', b'{"truncated_bytes":9000000}', "1:2:1", {"sluice-truncated-bytes": b"9000000"})
    bench.change(1, "1:3:1", row(1, notes="__debezium_unavailable_value"))
    bench.run()
    assert bench.dead == ["too-large", "unchanged-value-never-seen"]


def test_a_living_row_too_large_for_raw_is_not_swept() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1))
    bench.append(b'{"id":1}', b'{"truncated_bytes":9000000}', "2:9:0", {"sluice-truncated-bytes": b"9000000"})
    bench.sweep("2:9:0")
    bench.run()
    assert not bench.newest()["E1/person/main"].retracted


def test_a_superseded_record_with_an_unchanged_column_is_not_parked_when_it_is_read_again() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1, notes="first notes"))
    bench.change(1, "1:2:1", row(1, notes=UNAVAILABLE))
    bench.change(1, "1:3:1", row(1, notes="third notes"))
    bench.run()
    bench.rewind(0)
    bench.run()
    assert bench.dead == []
    assert bench.outcomes[3:] == ["superseded", "superseded", "unchanged"]


def test_the_state_of_a_key_is_dropped_when_nothing_can_contradict_its_delete() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1))
    bench.change(2, "1:1:2", row(2))
    bench.change(1, "1:2:1", None)
    bench.run()
    bench.housekeep_after(DELETED_KEYS_KEPT_S - 60)
    assert bench.known_keys == {b'{"id":1}', b'{"id":2}'}
    bench.housekeep_after(DELETED_KEYS_KEPT_S + 60)
    assert bench.known_keys == {b'{"id":2}'}


def test_the_state_of_a_deleted_key_with_a_newer_parked_record_is_kept() -> None:
    bench = MapperBench(person())
    bench.change(1, "1:1:1", row(1))
    bench.change(1, "1:2:1", None)
    bench.append(b'{"id":1}', b"not json", "1:3:1")
    bench.run()
    bench.housekeep_after(DELETED_KEYS_KEPT_S + 60)
    assert bench.known_keys == {b'{"id":1}'}
