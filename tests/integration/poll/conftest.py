"""A source with records, and the pipeline that polls it.

A test asks for `things`, `people` or `pages`: the source lists those. A test may give their number (`indirect`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.listings import Pages, People
from support.polling import OpenPolled, Polled, Things
from support.scripted_source import Answer, ScriptedSource, in_turn, scripted_source


@pytest.fixture
def source() -> Iterator[ScriptedSource]:
    """A source that refuses every request, until a fixture below gives it records."""
    with scripted_source(in_turn(Answer(b"no fixture gave this source records", status=404))) as running:
        yield running


@pytest.fixture
def things(source: ScriptedSource, request: pytest.FixtureRequest) -> Things:
    """25 things, or the number that the test gives."""
    source.script = things = Things(getattr(request, "param", 25))
    return things


@pytest.fixture
def people(source: ScriptedSource, request: pytest.FixtureRequest) -> People:
    """10 people, or the number that the test gives."""
    source.script = people = People(getattr(request, "param", 10))
    return people


@pytest.fixture
def pages(source: ScriptedSource) -> Pages:
    """Pages of people, which the test writes."""
    source.script = pages = Pages()
    return pages


@pytest.fixture
def open_polled(kafka: str, topic_prefix: str, source: ScriptedSource) -> Iterator[OpenPolled]:
    """Opens the pipeline with arguments of `Polled`; what was opened is closed after the test."""
    opened: list[Polled] = []

    def open_with(*arguments: Any, url: str = source.url, **settings: Any) -> Polled:
        opened.append(Polled(kafka, topic_prefix, url, *arguments, **settings))
        return opened[-1]

    yield open_with
    for polled in opened:
        polled.close()


@pytest.fixture
def polled(open_polled: OpenPolled) -> Polled:
    """The pipeline with the stream `things`, which is listed four times a second."""
    return open_polled()
