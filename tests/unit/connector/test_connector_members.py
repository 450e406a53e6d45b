"""A member of a stream or connector that Sluice would not read is refused when the class is created."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from sluice.connector import (
    BasicAuth,
    Connector,
    ConnectorSettings,
    Cursor,
    Limits,
    NextLink,
    ODataStream,
    Offset,
    RestStream,
    Stream,
)
from sluice.connector.paging import ImplicitEnd
from sluice.errors import SettingsError


def stream(base: Any = RestStream, **members: object) -> type[Any]:
    return type("Books", (base,), members)


def connector(**members: object) -> type[Any]:
    return type("Library", (Connector,), members)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("listing_before_delete", "is listings_before_delete meant?"),
        ("page_sise", "is page_size meant?"),
        ("pagin", "is paging meant?"),
        ("curser", "is cursor meant?"),
        ("enumerate_evry", "is enumerate_every meant?"),
        ("colour", "no such member"),
    ],
)
def test_a_misspelt_member_of_a_stream_is_refused_with_the_known_name(written: str, meant: str) -> None:
    with pytest.raises(SettingsError) as refused:
        stream(**{written: 5})
    assert str(refused.value).startswith(f"Books.{written}: no such member (")
    assert meant in str(refused.value)
    assert str(refused.value).endswith(f"if it is a name of your own, write _{written}")


def test_the_name_of_an_older_version_is_refused_with_the_new_name() -> None:
    message = r"Books\.looks_before_delete is now listings_before_delete\. Next: rename it"
    with pytest.raises(SettingsError, match=message):
        stream(looks_before_delete=5)
    with pytest.raises(SettingsError, match=message):
        stream(looks_before_delete=5, __annotations__={"looks_before_delete": ClassVar[int]})
    with pytest.raises(SettingsError, match=r"Books\.concluded is now implicit_end"):
        stream(Stream, concluded=property(lambda self: None))
    with pytest.raises(SettingsError, match=r"Pages\.ends_open is now end_is_implicit"):
        type("Pages", (ImplicitEnd,), {"ends_open": lambda self, response: False})


def test_a_member_that_only_odata_has_is_refused_in_another_stream() -> None:
    assert stream(ODataStream, order_by="ID").order_by == "ID"
    with pytest.raises(SettingsError, match=r"Books\.order_by: no such member"):
        stream(order_by="ID")


def test_a_misspelt_member_is_refused_in_a_class_that_a_stream_also_inherits() -> None:
    common = type("Common", (), {"listing_before_delete": 5})
    with pytest.raises(SettingsError, match=r"Common\.listing_before_delete: no such member"):
        type("Books", (common, RestStream), {})


def test_a_misspelt_method_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"Books\.record_in: no such member \(is records_in meant\?\)"):
        stream(record_in=lambda self, response: [])
    with pytest.raises(SettingsError, match=r"Library\.limit: no such member \(is limits meant\?\)"):
        connector(limit=Limits())


def test_an_author_may_have_names_of_his_own() -> None:
    own = {
        "_size": 5,
        "reads": ("a",),
        "wanted": lambda self: True,
        "url": property(lambda self: ""),
        "__annotations__": {"reads": "ClassVar[tuple[str, ...]]", "model_name": ClassVar[str]},
    }
    parent = stream(**own)
    child = type("Authors", (parent,), {"reads": ("b",), "model_name": "author"})
    assert (child.reads, child.model_name) == (("b",), "author")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("members", "written"),
    [
        ({"listings_before_delete": 0}, "listings_before_delete = 2, a whole number from 1"),
        ({"listings_before_delete": "5"}, "listings_before_delete = 2"),
        ({"listings_before_delete": True}, "listings_before_delete = 2"),
        ({"enumerate_every": 5}, "enumerate_every = timedelta(hours=1)"),
        ({"enumerate_every": timedelta()}, "enumerate_every = timedelta(hours=1)"),
        ({"page_size": "5"}, "page_size = 100"),
        ({"paging": "links.next"}, 'paging = NextLink("links.next")'),
        ({"params": ["a"]}, 'params = {"name": "value"}'),
        ({"params": lambda self: {}}, 'params = {"name": "value"}'),
        ({"not_paging": "links.next"}, 'not_paging = ("total",)'),
        ({"cursor": "modifiedAt"}, 'cursor = Cursor("modifiedAt")'),
        ({"key": 5}, 'key = "id"'),
        ({"key": ()}, 'key = "id"'),
        ({"path": 5}, 'path = "/books"'),
        ({"records": None}, 'records = "data"'),
    ],
)
def test_a_value_that_a_stream_cannot_use_is_refused_with_one_that_it_can(
    members: dict[str, object], written: str
) -> None:
    (name,) = members
    with pytest.raises(SettingsError) as refused:
        stream(**members)
    assert str(refused.value).startswith(f"Books.{name} cannot have this value. Next: write {written}")


def test_values_that_a_stream_can_use() -> None:
    stream(
        path="/b",
        key=("a", "b"),
        records=("a.b", "c"),
        cursor=None,
        page_size=None,
        not_paging=["total"],
        paging=Offset(),
    )
    stream(cursor=Cursor("at"), paging=NextLink("next"), page_size=property(lambda self: 5), params={"a": 1})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"streams": [RestStream]}, "Library.streams cannot have this value. Next: write streams = {"),
        ({"limits": {"deadline_s": 5}}, "Library.limits cannot have this value. Next: write limits = Limits("),
        ({"auth": None}, "Library.auth: auth is a method, and not a value. Next: write def auth(self, …)"),
        ({"auth": BasicAuth}, "Library.auth: auth is a method, and not a value. Next: write def auth(self, …)"),
        ({"stream": {"books": RestStream}}, "Library.stream: stream is a method, and not a value."),
    ],
)
def test_a_value_that_a_connector_cannot_use_is_refused(members: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        connector(**members)
    assert str(refused.value).startswith(message)


def test_paging_by_offset_without_a_page_size_is_refused_with_the_next_step() -> None:
    books = stream(path="/books", key="id", paging=Offset())
    library = connector(streams={"books": books})("library", {"base_url": "https://h"})
    with pytest.raises(SettingsError, match="Next: declare page_size = 100 in the stream"):
        library.stream("books").first_request(None)


def test_settings_are_read_as_before() -> None:
    class Settings(ConnectorSettings):
        colour: str

    class Library(Connector[Settings]):
        pass

    assert Library("library", {"base_url": "https://h", "colour": "red"}).settings.colour == "red"
