"""The figures of a run follow from its samples alone."""

from __future__ import annotations

import pytest

from bench.sampling import BenchError, Memory, Sample, figures

MIB = 2**20


def sample(at_s: float, done: int, client: float = 0.0, broker: float = 0.0, machine: float = 0.0) -> Sample:
    return Sample(at_s, done, client, broker, 0.0, 0.0, machine)


def test_start_up_and_the_first_tenth_are_not_timed() -> None:
    samples = [sample(0, 0), sample(8, 50), sample(10, 200), sample(11, 600), sample(12, 1000), sample(14, 1000)]
    found = figures(samples, 1000, Memory(64 * MIB, 48 * MIB), 2)
    assert found.rate == 800 / 4
    assert found.measured == 800
    assert found.first_s == 8
    assert (found.rss_mib, found.process_mib) == (64, 48)


def test_processor_time_is_that_of_the_timed_results_in_seconds_per_million() -> None:
    samples = [sample(0, 0), sample(10, 100_000, client=5, broker=2), sample(20, 1_000_000, client=14, broker=11)]
    found = figures(samples, 1_000_000, Memory(), 2)
    assert found.client == pytest.approx(10)
    assert found.broker == pytest.approx(10)


def test_other_is_the_part_of_the_machine_that_no_measured_process_used() -> None:
    samples = [sample(0, 100, client=1, machine=100), sample(10, 1000, client=6, machine=115)]
    assert figures(samples, 1000, Memory(), 2).other == pytest.approx(0.5)


def test_other_is_never_negative() -> None:
    samples = [sample(0, 100, client=1, machine=100), sample(10, 1000, client=6, machine=104)]
    assert figures(samples, 1000, Memory(), 2).other == 0


def test_a_run_whose_results_come_at_once_gives_no_figure() -> None:
    with pytest.raises(BenchError, match="larger --n"):
        figures([sample(0, 0), sample(1, 700), sample(2, 1000)], 1000, Memory(), 2)


def test_a_run_with_one_sample_gives_no_figure() -> None:
    with pytest.raises(BenchError, match="larger --n"):
        figures([sample(1, 1000)], 1000, Memory(), 2)


def test_the_highest_memory_counts_of_all_processes_and_of_one() -> None:
    memory = Memory().with_sample([100, 20]).with_sample([90, 60]).with_sample([10])
    assert memory == Memory(together=150, largest=100)
