"""A key that a listing contains more than once: what may be published, and what the next listing must know."""

from __future__ import annotations

import pytest

from sluice.errors import EnvironmentFault
from sluice_ingress_poller import duplicate_keys
from sluice_ingress_poller.duplicate_keys import DuplicateKeys, EarlierDuplicates
from sluice_ingress_poller.page import Item, content_hash

KEY = b'{"id":1}'


def item(content: str, cursor: int | None = None, key: bytes = KEY) -> Item:
    return Item(key, content.encode(), cursor, None)


def published_by(
    before: EarlierDuplicates, *pages: list[Item], everything: bool = True, known: str = ""
) -> tuple[list[str], DuplicateKeys]:
    """What a listing of `pages` publishes; `known` is the content that was published before."""
    listing = DuplicateKeys(before, everything)
    taken = []
    for page in pages:
        items, withheld, replaced = listing.filtered(
            page, lambda key: content_hash(known.encode()) if known else None, "GET /x"
        )
        assert len(items) + withheld + replaced == len(page)
        taken += [one.raw.decode() for one in items]
    return taken, listing


@pytest.mark.parametrize(
    ("pages", "everything", "taken", "twice"),
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
    pages: list[list[Item]], everything: bool, taken: list[str], twice: bool
) -> None:
    found, listing = published_by(EarlierDuplicates(), *pages, everything=everything)
    assert found == taken
    assert listing.duplicates == ({KEY} if twice else set())


def test_a_content_that_comes_back_with_the_one_that_replaced_it_is_another_record() -> None:
    _, first = published_by(EarlierDuplicates(), [item("a", 1)], [item("b", 2)])
    taken, second = published_by(first.after(complete=True), [item("a", 1)], [item("b", 2)], known="b")
    assert (taken, second.duplicates) == ([], {KEY})
    taken, third = published_by(second.after(complete=True), [item("b", 2)], known="b")
    assert (taken, third.duplicates) == ([], set())
    taken, _ = published_by(third.after(complete=True), [item("b", 2)], known="b")
    assert taken == ["b"]


def test_a_row_that_changes_during_every_listing_is_never_withheld() -> None:
    before = EarlierDuplicates()
    for number in range(0, 20, 2):
        taken, listing = published_by(before, [item(str(number), number)], [item(str(number + 1), number + 1)])
        assert taken == [str(number), str(number + 1)]
        before = listing.after(complete=True)
        assert not before.withheld


def test_changes_keep_withheld_what_a_listing_withheld() -> None:
    _, listed = published_by(EarlierDuplicates(), [item("a"), item("b")])
    taken, changes = published_by(listed.after(complete=True), [item("c", 3)], everything=False)
    assert taken == []
    assert changes.after(complete=True).withheld == {KEY}


def test_an_incomplete_enumeration_releases_no_key() -> None:
    _, listed = published_by(EarlierDuplicates(), [item("a"), item("b")])
    _, cut = published_by(listed.after(complete=True), [])
    assert cut.after(complete=False).withheld == {KEY}
    assert cut.after(complete=True).withheld == frozenset()


def test_a_new_owner_publishes_new_keys_only_until_it_has_enumerated_once() -> None:
    unsure = EarlierDuplicates(unsure=True)
    assert published_by(unsure, [item("b")], known="a")[0] == []
    assert published_by(unsure, [item("a")], known="a")[0] == ["a"]
    taken, listing = published_by(unsure, [item("b")])
    assert taken == ["b"]
    assert not listing.after(complete=True).unsure
    assert published_by(unsure, [item("b")], everything=False)[1].after(complete=True).unsure


def test_too_many_keys_listed_twice_are_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicate_keys, "KEYS_MAX", 2)
    page = [item(content, key=b"%d" % number) for number in range(3) for content in "ab"]
    with pytest.raises(EnvironmentFault, match="declare a key that is unique"):
        published_by(EarlierDuplicates(), page)
