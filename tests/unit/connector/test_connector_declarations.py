"""What an author declares: streams, keys, settings; what an operator reads when they are wrong."""

from __future__ import annotations

import base64
import html
import json
from datetime import timedelta
from typing import ClassVar
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlsplit

import pytest
from pydantic import BaseModel, SecretStr

from sluice.connector import (
    Connector,
    ConnectorSettings,
    Cursor,
    NextLink,
    NotJson,
    Offset,
    Request,
    Response,
    RestStream,
)
from sluice.connector.messages import absolute, origin, with_params, without_query
from sluice.connector.redact import safe_headers, safe_url, without
from sluice.errors import SettingsError


class Worker(BaseModel):
    id: str


class HrSettings(ConnectorSettings):
    client_secret: SecretStr


class Workers(RestStream[Worker]):
    path, records, key = "/workers", "data", "id"
    cursor = Cursor("updatedAt", param="updated_from", lookback=timedelta(minutes=5))
    paging = NextLink("links.next", size_param="limit")
    page_size = 200


class Hr(Connector[HrSettings]):
    streams: ClassVar = {"workers": Workers}


def hr(**more: str) -> Hr:
    return Hr("hr", {"base_url": "https://hr.example/api", "client_secret": "s3cret-text", **more})


def answer(body: bytes, url: str = "https://hr.example/api/workers?limit=2", **headers: str) -> Response:
    return Response(Request("GET", url), 200, headers, body)


def test_a_stream_knows_its_model_and_its_first_request() -> None:
    stream = hr().stream("workers")
    assert stream.model is Worker
    assert stream.first_request(None).url == "/workers?limit=200"
    since = stream.since("2024-05-01T10:00:00Z")
    assert stream.first_request(since).url == "/workers?limit=200&updated_from=2024-05-01T09%3A55%3A00Z"


def test_the_next_link_may_be_relative_and_ends_with_null_or_nothing() -> None:
    stream = hr().stream("workers")
    first = answer(b'{"data":[],"links":{"next":"/api/workers?after=7"}}')
    following = stream.next_request(first, first.request)
    assert following is not None
    assert following.url == "https://hr.example/api/workers?after=7"
    for last in (b'{"data":[],"links":{"next":null}}', b'{"data":[],"links":{}}', b'{"data":[]}'):
        assert stream.next_request(answer(last), first.request) is None
    for none in (b"7", b'"http://[::1/workers"', b'"https://hr.example:abc/workers"'):
        with pytest.raises(NotJson, match=r"links\.next is not a link"):
            stream.next_request(answer(b'{"data":[],"links":{"next":%b}}' % none), first.request)


@pytest.mark.parametrize(
    ("path", "body", "address", "open_end"),
    [
        ("@odata.nextLink", b'{"@odata.nextLink":"https://h/x?skip=2"}', "https://h/x?skip=2", False),
        ("@odata.nextLink", b'{"@odata.context":"c"}', None, True),
        ("d.__next", b'{"d":{"__next":"?skip=2"}}', "https://hr.example/api/workers?skip=2", False),
        (("a.b", "next"), b'{"a.b":{"next":"/y"}}', "https://hr.example/y", False),
        ("links.next", b'{"links":null}', None, False),
        ("links.next", b'{"links":{"next":""}}', None, False),
        ("links.next", b'{"links":{}}', None, True),
        ("links.next", b"{}", None, True),
    ],
)
def test_a_link_is_named_as_it_is_written_and_a_missing_link_differs_from_a_null_link(
    path: str | tuple[str, ...], body: bytes, address: str | None, open_end: bool
) -> None:
    paging, response = NextLink(path), answer(body)
    following = paging.next(response, response.request, 1)
    assert (following.url if following else None) == address
    assert paging.end_is_implicit(response) is open_end
    assert paging.resized(response.request, 7).url == "https://hr.example/api/workers?limit=7"


def test_paging_by_offset_ends_only_with_an_empty_page() -> None:
    paging = Offset()
    request = Request("GET", "https://h/x?offset=4&limit=10&q=a")
    following = paging.next(answer(b"[]"), request, 3)
    assert following is not None
    assert following.url == "https://h/x?limit=10&q=a&offset=7"
    assert paging.next(answer(b"[]"), request, 0) is None


def test_settings_that_are_wrong_are_named_without_their_values() -> None:
    with pytest.raises(SettingsError) as refusal:
        Hr("hr", {"base_url": "ftp://user:hunter2@hr.example", "client_secret": ["s3cret-text"], "token": "t0ken"})
    text = str(refusal.value)
    for name in ("base_url", "client_secret", "token"):
        assert f"sources.hr.settings.{name}" in text
    for value in ("hunter2", "s3cret-text", "t0ken"):
        assert value not in text


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h:99999", "has a port that is no number from 1 to 65535"),
        ("http://h:x", "has a port that is no number from 1 to 65535"),
        ("http://a b/", "has a host whose name is not valid"),
        (f"http://{'a' * 64}.example", "has a host whose name has an empty part, or one of more than 63 characters"),
        ("http://h/\x01", "contains a control character"),
        ("http://[::1", "is no address"),
        ("h.example", "does not begin with http:// or https:// and the name of a host"),
    ],
)
def test_an_address_to_which_nothing_can_be_sent_is_refused_at_load(url: str, why: str) -> None:
    mistakes = list(Hr.mistakes({"base_url": url, "client_secret": "s3cret-text"}, {"base_url"}, []))
    assert mistakes == [(("settings", "base_url"), f"an address that {why}")]


def test_an_unknown_stream_is_named_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"sources\.hr\.streams\.people: the connector has no such stream"):
        hr().stream("people")


def test_a_stream_without_a_key_is_refused_where_it_is_written() -> None:
    with pytest.raises(SettingsError, match=r'Nameless\.key cannot have this value\. Next: write key = "id"'):

        class Nameless(RestStream[Worker]):
            path, key = "/x", ""


def test_secrets_are_known_by_their_type() -> None:
    assert hr().secrets() == {"s3cret-text"}
    assert "s3cret-text" not in repr(hr().settings)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/workers", "https://h/api/v1/workers"),
        ("workers", "https://h/api/v1/workers"),
        ("https://other/x", "https://other/x"),
        ("//other/x", "https://other/x"),
    ],
)
def test_addresses_are_below_the_base_url(url: str, expected: str) -> None:
    assert absolute("https://h/api/v1", url) == expected


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://H/x") == origin("https://h:443/y")
    assert len({origin(u) for u in ("https://h", "http://h", "https://h:8443", "https://h.evil")}) == 4


def test_parameters_join_the_query_that_is_there() -> None:
    assert with_params("/x?a=1&b=2", {"b": 3, "c": "ä"}) == "/x?a=1&b=3&c=%C3%A4"


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("a eq 'b c'", "a%20eq%20%27b%20c%27"),
        ("1+1", "1%2B1"),
        ("x&y=z#?", "x%26y%3Dz%23%3F"),
        ("2024-05-01T00:00:00+02:00", "2024-05-01T00%3A00%3A00%2B02%3A00"),
        ("~a-b._", "~a-b._"),
    ],
)
def test_a_parameter_is_percent_encoded_and_read_back_by_every_server(value: str, spelled: str) -> None:
    url = with_params("/x", {"$filter": value})
    assert url == f"/x?$filter={spelled}"
    assert unquote(spelled) == value, "a server that does not read + as a space"
    assert parse_qs(urlsplit(url).query, strict_parsing=True) == {"$filter": [value]}, "and one that does"


def test_what_a_source_put_into_its_own_link_stays_as_it_is_spelled() -> None:
    link = "https://h/x?$skiptoken=a+b%2fc&empty=&flag&limit=5"
    assert with_params(link, {"limit": 9}) == "https://h/x?$skiptoken=a+b%2fc&empty=&flag&limit=9"
    assert with_params("/x?%24top=5", {"$top": 9}) == "/x?$top=9"


def test_urls_lose_their_secrets() -> None:
    url = "https://user:pw@h/x/s3cret-text?api_key=k1&accessToken=k2&q=s3cret-text&page=2&monkey=1"
    assert safe_url(url, ["s3cret-text"]) == (
        "https://h/x/[removed]?api_key=[removed]&accessToken=[removed]&q=[removed]&page=2&monkey=1"
    )
    assert without_query("https://user:pw@h:8443/x?api_key=k1") == "https://h:8443/x"


def test_a_url_in_an_error_reads_as_it_was_sent() -> None:
    url = with_params("https://h/Books", {"$filter": "a gt 5", "$orderby": "a,b"})
    assert safe_url(url) == "https://h/Books?$filter=a%20gt%205&$orderby=a,b"


def test_headers_lose_their_secrets() -> None:
    headers = {"set-cookie": "a", "x-api-key": "b", "www-authenticate": "c", "etag": "with s3cret-text", "date": "d"}
    assert safe_headers(headers, ["s3cret-text"]) == {"etag": "with [removed]", "date": "d"}


SECRET = 'CAN"ARY/k\\1&+<ü>'


@pytest.mark.parametrize(
    "repeated",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False).replace("/", "\\/"),
        quote(SECRET),
        quote(SECRET, safe="").lower().replace("can", "CAN").replace("ary", "ARY"),
        quote_plus(SECRET),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_removed_however_a_source_spells_it(repeated: str) -> None:
    found = without(f"refused: {repeated}.", [SECRET])
    assert found.replace('"', "").replace("=", "") == "refused: [removed]."


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "999999"}, 999_999.0),
        ({"retry-after": "Wed, 01 May 2024 10:00:30 GMT", "date": "Wed, 01 May 2024 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 01 May 2024 09:00:00 GMT", "date": "Wed, 01 May 2024 10:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_on_the_servers_clock(headers: dict[str, str], seconds: float | None) -> None:
    assert answer(b"", **headers).retry_after_s == seconds
