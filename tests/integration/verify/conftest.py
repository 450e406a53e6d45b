"""Followed tables with running stages: one pipeline for all tests of a module."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.cdc.connection import connect
from sluice.cdc.slots import drop_slot
from sluice.embedded import Servers
from support.followed_people import FollowedPeople


@pytest.fixture(scope="module")
def people(
    servers: Servers, shared_dsn: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[FollowedPeople]:
    """`staff` and the tables that the module lists as OTHERS."""
    folder: Path = tmp_path_factory.mktemp("people")
    people = FollowedPeople(servers, shared_dsn, f"t{uuid.uuid4().hex[:8]}.", folder, request.module.OTHERS)
    with people.stages():
        yield people
    with connect(people.source.dsn, "the test's source") as connection:
        drop_slot(connection, people.source.slot.slot, "the test's source")
