"""OData 4 services by declaration: what is asked for, and how pages and credentials go with it."""

from __future__ import annotations

import base64
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from sluice.connector import ApiKeyAuth, BasicAuth, Connector, ConnectorSettings, Cursor, ODataStream, Request, Response
from sluice.connector.auth import Auth, Door
from sluice.connector.odata import literal
from sluice.errors import SettingsError


class Books(ODataStream[dict[str, Any]]):
    path, key = "/Books", "ID"
    cursor = Cursor("modifiedAt")
    page_size = 50


class GermanBooks(ODataStream[dict[str, Any]]):
    path, key = "/Books", ("author.ID", "nr")
    cursor = Cursor("modifiedAt")
    filter = "lang eq 'de' or lang eq null"
    params: ClassVar = {"$select": "ID,title"}


class Unsorted(ODataStream[dict[str, Any]]):
    path, key, order_by, count = "/Books", "ID", "", False


class Library(Connector[ConnectorSettings]):
    streams: ClassVar = {"books": Books, "german": GermanBooks, "unsorted": Unsorted}


LIBRARY = Library("library", {"base_url": "https://h/odata/v4"})
NOON = "2024-05-01T12:00:00.123Z"


def asked(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query, strict_parsing=True).items()}


def test_everything_is_listed_in_the_order_of_the_key_and_counted() -> None:
    request = LIBRARY.stream("books").first_request(None)
    assert request.url == "/Books?$orderby=ID&$count=true"
    assert request.headers == {"Prefer": "odata.maxpagesize=50"}


def test_changes_are_asked_for_by_a_filter_that_a_server_can_parse() -> None:
    request = LIBRARY.stream("books").first_request(NOON)
    assert "+" not in request.url
    assert asked(request)["$filter"] == f"modifiedAt ge {NOON}"
    assert asked(request)["$orderby"] == "modifiedAt,ID"


def test_the_author_s_own_filter_and_options_stay() -> None:
    query = asked(LIBRARY.stream("german").first_request(NOON))
    assert query["$filter"] == f"(lang eq 'de' or lang eq null) and modifiedAt ge {NOON}"
    assert query["$orderby"] == "modifiedAt,author/ID,nr"
    assert query["$select"] == "ID,title"
    assert asked(LIBRARY.stream("german").first_request(None))["$filter"] == "lang eq 'de' or lang eq null"


def test_a_service_that_cannot_sort_or_count_is_not_asked_to() -> None:
    request = LIBRARY.stream("unsorted").first_request(None)
    assert request.url == "/Books"
    assert not request.headers


@pytest.mark.parametrize(
    ("value", "spelled"),
    [(17, "17"), (NOON, NOON), ("2024-05-01", "2024-05-01"), ("O'Neil", "'O''Neil'"), ("17a", "'17a'")],
)
def test_a_value_in_a_filter_is_spelled_by_its_kind(value: str | int, spelled: str) -> None:
    assert literal(value) == spelled


def test_pages_follow_the_link_as_the_service_spells_it_with_the_same_page_size() -> None:
    stream = LIBRARY.stream("books")
    first = stream.first_request(None).at("https://h/odata/v4")
    body = b'{"@odata.count":70,"value":[{"ID":1}],"@odata.nextLink":"Books?$skiptoken=50&$filter=a%20eq%20%27b+c%27"}'
    response = Response(first, 200, {}, body)
    following = stream.next_request(response, first)
    assert following is not None
    assert following.url == "https://h/odata/v4/Books?$skiptoken=50&$filter=a%20eq%20%27b+c%27"
    assert following.headers == {"Prefer": "odata.maxpagesize=50"}
    assert stream.records_in(response) == [b'{"ID":1}']
    assert stream.implicit_end is not None
    assert stream.implicit_end.resized(first, 49).headers == {"Prefer": "odata.maxpagesize=49"}
    assert stream.next_request(Response(first, 200, {}, b'{"value":[]}'), first) is None


def headers(auth: Auth) -> dict[str, str]:
    def send(request: Request) -> Response:
        raise AssertionError("nothing is asked for")

    return dict(auth.headers(Door("library", "https://h", send)))


def test_user_and_password_go_with_every_request() -> None:
    text = headers(BasicAuth("alice", SecretStr("pä:ss")))["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(text).decode() == "alice:pä:ss"
    with pytest.raises(SettingsError, match="no colon"):
        BasicAuth("al:ice", SecretStr("x"))


def test_a_key_goes_in_the_header_that_the_source_wants() -> None:
    assert headers(ApiKeyAuth(SecretStr("k1"))) == {"X-API-Key": "k1"}
    assert headers(ApiKeyAuth(SecretStr("k1"), "Authorization", "Token ")) == {"Authorization": "Token k1"}


@pytest.mark.parametrize(
    "header", ["X API Key", "X-Key:", "", "X-A\r\nX-Evil: 1", "X-Schlüssel", "Host", "content-length"]
)
def test_a_header_that_can_carry_no_key_is_refused(header: str) -> None:
    with pytest.raises(SettingsError, match="is no name of a header that can carry a key"):
        ApiKeyAuth(SecretStr("k1"), header)


def test_a_class_of_a_login_is_not_one() -> None:
    class Uncalled(Connector[ConnectorSettings]):
        def auth(self) -> Auth:
            return BasicAuth  # type: ignore[return-value]

    with pytest.raises(SettingsError, match=r"auth returns the class BasicAuth, which is no login"):
        _ = Uncalled("library", {"base_url": "https://h"}).login


def test_what_is_sent_in_place_of_a_secret_is_a_secret_as_well() -> None:
    class Settings(ConnectorSettings):
        password: SecretStr

    class Signed(Connector[Settings]):
        def auth(self) -> Auth:
            return BasicAuth("alice", self.settings.password)

    secrets = Signed("library", {"base_url": "https://h", "password": "wonderland"}).secrets()
    assert secrets == {"wonderland", base64.b64encode(b"alice:wonderland").decode()}


@pytest.mark.parametrize("key", ["k1\n", " k1", "kä", "k\x001"])
def test_a_key_that_http_cannot_carry_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ApiKeyAuth(SecretStr(key))
    assert "k1" not in str(caught.value)
