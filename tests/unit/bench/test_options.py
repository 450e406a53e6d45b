"""The command line of `make bench`."""

from __future__ import annotations

import pytest

from bench.options import RECORDS, parse


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--what"),
        (["--what", "console"], "invalid choice"),
        (["--what", "mapper", "--n", "0"], "less than 1"),
        (["--what", "mapper", "--n", "many"], "--n"),
        (["--what", "mapper", "--partitions", "-1"], "less than 1"),
        (["--what", "mapper", "--peers", "quicks"], "no peer quicks; there are quix, bytewax, bare"),
        (["--what", "mapper", "--fast"], "unrecognized"),
        (["--what", "cdc", "--peers", "jdbc"], "no peer jdbc; there are tuned, default"),
        (["--what", "cdc", "--phases", "restart"], "no phase restart; there are snapshot, catch_up, latency"),
        (["--what", "cdc", "--profile", "--phases", "snapshot,catch_up"], "a profile shows one phase"),
    ],
)
def test_a_wrong_argument_is_named_and_the_exit_code_is_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_counts_may_be_written_in_groups() -> None:
    assert parse(["--what", "mapper", "--n", "1_000_000"]).n == 1_000_000


def test_every_record_has_a_key_of_its_own_unless_keys_are_given() -> None:
    assert parse(["--what", "mapper", "--n", "5000"]).keys == 5000
    assert parse(["--what", "mapper", "--n", "5000", "--keys", "70"]).keys == 70


def test_without_counts_each_benchmark_has_its_own() -> None:
    for what, records in RECORDS.items():
        assert parse(["--what", what]).n == records


def test_a_whole_pipeline_starts_with_as_many_rows_whatever_it_is_fed_with() -> None:
    assert {parse(["--what", "end_to_end", *more]).keys for more in ([], ["--n", "5"])} == {10_000}


def test_peers_are_all_some_or_none() -> None:
    assert parse(["--what", "mapper"]).peers is None
    assert parse(["--what", "mapper", "--peers", "bare,quix"]).peers == ("bare", "quix")
    assert parse(["--what", "mapper", "--peers", "none"]).peers == ()


def test_phases_are_in_the_order_of_a_run() -> None:
    assert parse(["--what", "cdc"]).phases == ("snapshot", "catch_up", "latency")
    assert parse(["--what", "cdc", "--phases", "latency,snapshot"]).phases == ("snapshot", "latency")
    assert parse(["--what", "cdc", "--profile"]).phases == ("catch_up",)
