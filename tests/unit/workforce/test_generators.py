"""The example's data follow from their seed alone."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from random import Random

from examples.workforce import company
from examples.workforce.finance import generate
from examples.workforce.hr import spellings
from examples.workforce.hr.directory import Directory
from examples.workforce.hr.editor import Editor


def test_one_seed_makes_one_company() -> None:
    assert [company.person(7, n) for n in range(1, 50)] == [company.person(7, n) for n in range(1, 50)]
    assert company.person(7, 17) != company.person(8, 17)


def test_one_seed_makes_one_set_of_finance_rows() -> None:
    def rows(seed: int) -> list[object]:
        ledger = islice(generate.ledger_entries(seed, 100, 1_000), 13, 1_000)  # NaN is not equal to itself
        return [*generate.cost_centres(seed), *generate.payrolls(seed, 100), *ledger]

    assert rows(7) == rows(7)
    assert rows(7) != rows(8)


def test_hr_and_finance_speak_of_the_same_employees() -> None:
    hr = {f"E{number:05d}" for number in range(1, 1_001)}
    payroll = {row.employee_number for row in generate.payrolls(7, 1_000)}
    assert payroll < hr
    assert len(payroll) > 900


def test_the_hopeless_records_are_hopeless_under_any_seed() -> None:
    for seed in (1, 7, 99):
        records = {n: spellings.worker(company.person(seed, n), seed) for n in (13, 42, 77)}
        assert records[13]["pay"] == "n/a yet"
        assert "employeeNumber" not in records[42]
        assert "\0" in records[77]["name"]


def test_live_edits_follow_from_the_seed_and_what_was_edited_before() -> None:
    def edited(seed: int) -> list[bytes]:
        directory = Directory()
        directory.fill(200, 7)
        editor = Editor(directory, seed, edits_per_second=0)
        for _ in range(100):
            editor.step()
        records, _ = directory.page(0, None, 500)
        directory.close()
        return sorted(record.partition(b'"updatedAt"')[0] for record in records)

    assert edited(7) == edited(7)
    assert edited(7) != edited(8)


def test_an_editor_whose_choice_falls_on_a_hopeless_record_goes_on_with_the_next() -> None:
    directory = Directory()
    directory.fill(13, 7)
    for number in range(1, 13):
        directory.delete(f"W-{number}")
    before = directory.counter("changes")
    editor = Editor(directory, 7, edits_per_second=0)
    kinds = {editor.step().kind for _ in range(100)}
    assert directory.counter("changes") > before
    assert len(kinds) > 1
    directory.close()


def test_every_edit_is_later_than_all_before_it() -> None:
    directory = Directory()
    directory.fill(10, 7)
    edited = [json.loads(directory.edit({"W-1": {"jobTitle": "Nurse"}})[0]) for _ in range(100)]
    moments = [datetime.fromisoformat(worker["updatedAt"]) for worker in edited]
    directory.close()
    assert sorted(set(moments)) == moments


class Leaving(Directory):
    """The workers picked have left before anything is done with them."""

    def pick(self, rng: Random, count: int, without: Sequence[str] = ()) -> list[str]:
        chosen = super().pick(rng, count, without)
        for worker_id in chosen:
            self.delete(worker_id)
        return chosen


def test_the_editor_makes_no_record_of_workers_who_left_since_it_chose_them() -> None:
    directory = Leaving()
    directory.fill(200, 7)
    editor = Editor(directory, 7, edits_per_second=0)
    steps = [editor.step() for _ in range(100)]
    records = [json.loads(body) for body in directory.page(0, None, 500)[0]]
    directory.close()
    assert {step.kind for step in steps} == {"edit", "transfer", "hire", "dismiss"}
    assert not [step for step in steps if step.deleted or (step.changed and step.kind != "hire")]
    assert [record["id"] for record in records if not {"phone", "height", "startDate"} & record.keys()] == []
