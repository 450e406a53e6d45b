"""A key that a pass sees more than once: which content may be published, and what the next pass must know."""

from __future__ import annotations

import pytest

from sluice.errors import EnvironmentFault
from sluice_ingress_poller import sightings
from sluice_ingress_poller.page import Item, content_hash
from sluice_ingress_poller.sightings import Sightings, Twice

KEY = b'{"id":1}'


def item(content: str, cursor: int | None = None, key: bytes = KEY) -> Item:
    return Item(key, content.encode(), cursor, None)


def walked(before: Twice, *pages: list[Item], listing: bool = True, known: str = "") -> tuple[list[str], Sightings]:
    """What a pass over `pages` publishes, where `known` is what was published before."""
    seen = Sightings(before, listing)
    taken = []
    for page in pages:
        found = seen.sort_out(page, lambda key: content_hash(known.encode()) if known else None, "GET /x")
        assert len(found.taken) + found.held + found.older == len(page)
        taken += [one.raw.decode() for one in found.taken]
    return taken, seen


@pytest.mark.parametrize(
    ("pages", "listing", "taken", "twice"),
    [
        ([[item("a")]], True, ["a"], False),
        ([[item("a"), item("a")], [item("a")]], True, ["a", "a", "a"], False),
        ([[item("a"), item("b")]], True, [], True),
        ([[item("a", 1), item("b", 2)]], True, [], True),
        ([[item("a", 1)], [item("b", 2)]], True, ["a", "b"], False),
        ([[item("a", 2)], [item("b", 2)]], True, ["a"], True),
        ([[item("b", 2)], [item("a", 1)]], True, ["b"], True),
        ([[item("a")], [item("b")]], True, ["a"], True),
        ([[item("a")], [item("b", 2)]], True, ["a", "b"], False),
        ([[item("a", 1), item("b", 2)]], False, ["b"], False),
        ([[item("b", 2), item("a", 1)]], False, ["b"], False),
        ([[item("a", 2), item("b", 2)]], False, [], True),
        ([[item("a", 1)], [item("b", 2)]], False, ["a", "b"], False),
        ([[item("a", 1)], [item("b", 2)], [item("a", 1)]], True, ["a", "b"], True),
    ],
)
def test_of_two_contents_the_later_one_is_taken_or_neither(
    pages: list[list[Item]], listing: bool, taken: list[str], twice: bool
) -> None:
    found, seen = walked(Twice(), *pages, listing=listing)
    assert found == taken
    assert seen.twice == ({KEY} if twice else set())


def test_a_content_that_comes_back_beside_the_one_that_replaced_it_is_another_record() -> None:
    _, first = walked(Twice(), [item("a", 1)], [item("b", 2)])
    taken, second = walked(first.after(whole=True), [item("a", 1)], [item("b", 2)], known="b")
    assert (taken, second.twice) == ([], {KEY})
    taken, third = walked(second.after(whole=True), [item("b", 2)], known="b")
    assert (taken, third.twice) == ([], set())
    taken, _ = walked(third.after(whole=True), [item("b", 2)], known="b")
    assert taken == ["b"]


def test_a_row_that_changes_during_every_listing_is_never_taken_for_two() -> None:
    before = Twice()
    for number in range(0, 20, 2):
        taken, seen = walked(before, [item(str(number), number)], [item(str(number + 1), number + 1)])
        assert taken == [str(number), str(number + 1)]
        before = seen.after(whole=True)
        assert not before.withheld


def test_changes_keep_withheld_what_a_listing_withheld() -> None:
    _, listed = walked(Twice(), [item("a"), item("b")])
    taken, changes = walked(listed.after(whole=True), [item("c", 3)], listing=False)
    assert taken == []
    assert changes.after(whole=True).withheld == {KEY}


def test_a_listing_that_is_not_whole_frees_no_key() -> None:
    _, listed = walked(Twice(), [item("a"), item("b")])
    _, cut = walked(listed.after(whole=True), [])
    assert cut.after(whole=False).withheld == {KEY}
    assert cut.after(whole=True).withheld == frozenset()


def test_a_new_owner_publishes_new_keys_only_until_it_has_looked_once() -> None:
    unsure = Twice(unsure=True)
    assert walked(unsure, [item("b")], known="a")[0] == []
    assert walked(unsure, [item("a")], known="a")[0] == ["a"]
    taken, seen = walked(unsure, [item("b")])
    assert taken == ["b"]
    assert not seen.after(whole=True).unsure
    assert walked(unsure, [item("b")], listing=False)[1].after(whole=True).unsure


def test_too_many_keys_listed_twice_are_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "KEYS_MAX", 2)
    page = [item(content, key=b"%d" % number) for number in range(3) for content in "ab"]
    with pytest.raises(EnvironmentFault, match="declare a key that is unique"):
        walked(Twice(), page)
