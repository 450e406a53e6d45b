"""A profile counts a library's time for the own function that called it, and leaves out what is not the loop's."""

from __future__ import annotations

import pytest

from bench import profile
from sluice.stage.loop import Stage
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.reader_thread import ReaderThread
from sluice_ingress_cdc.stream import Streaming

LOOP = "main (sluice/cli/main.py:9);_turn (/x/libs/sluice/stage/loop.py:80);"


def test_a_sample_counts_for_the_deepest_own_function() -> None:
    stacks = profile.parsed(
        [
            f"{LOOP}handle (/x/services/sluice_mapper/mapper.py:10);loads (json/decoder.py:3) 6",
            f"{LOOP}handle (sluice_mapper/mapper.py:10) 1",
            f"{LOOP}handle (sluice_mapper/mapper.py:10);encode (<claims of entity ledger_entry, version 1>:2) 2",
            f"{LOOP}handle (sluice_mapper/mapper.py:10);entry (sources/erp/mapping.py:2);f (decimal.py:2) 1",
        ]
    )
    assert profile.functions(stacks) == [
        {"function": "handle (/x/services/sluice_mapper/mapper.py)", "share": 0.6},
        {"function": "encode (<claims of entity ledger_entry, version 1>)", "share": 0.2},
        {"function": "handle (sluice_mapper/mapper.py)", "share": 0.1},
        {"function": "entry (sources/erp/mapping.py)", "share": 0.1},
    ]


def test_samples_outside_the_loop_are_left_out() -> None:
    stacks = profile.parsed(
        ["main (sluice/cli/main.py:9);<module> (fastavro/__init__.py:1) 50", f"{LOOP}take (q.py:1) 2"]
    )
    assert profile.functions(stacks) == [{"function": "take (q.py)", "share": 1.0}]


def test_equal_stacks_are_one() -> None:
    assert profile.parsed(["a (x.py:1) 2", "a (x.py:1) 3"]) == {"a (x.py:1)": 5}


@pytest.mark.parametrize(
    ("of", "method"),
    [(Stage, "_turn"), (Streaming, "_turn"), (SlotPublisher, "publish"), (ReaderThread, "_read")],
)
def test_the_frames_below_which_samples_count_are_methods_of_the_stages(of: type, method: str) -> None:
    code = vars(of)[method].__code__
    assert profile.LOOP.search(f"main (main.py:9);{code.co_name} ({code.co_filename}:{code.co_firstlineno});")
