"""The salt of a hash is in the name of its setting. No text that Sluice writes shows it."""

from __future__ import annotations

import pytest

from sluice.debezium_settings import read_settings

SALT = "CzQMA0cB5K"


def test_no_text_about_settings_shows_the_salt_of_a_hash() -> None:
    settings = read_settings({f"column.mask.hash.v2.SHA-256.with.salt.{SALT}": "public.a.b", "tasks.max": "1"})
    assert repr(settings) == "DebeziumSettings(column.mask.hash.v2.SHA-256.with.salt.…, tasks.max)"


@pytest.mark.parametrize("name", ["column.mask.hash.SHA-256", "colum.mask.hash.v2.SHA-256"])
def test_no_refusal_shows_the_salt_of_a_hash(name: str) -> None:
    with pytest.raises(ValueError, match=r"with\.salt\.…: ") as refusal:
        read_settings({f"{name}.with.salt.{SALT}": "public.a.b"})
    assert SALT not in str(refusal.value)
