"""What a page says of more records beside them, as the sources that are asked most spell it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sluice.connector import LinkHeader, Request, Response
from sluice.connector.paging import next_in_header
from sluice.connector.signs import MEMBERS_MAX, Signs, signs

URL = "https://h/people?page=1"


def answer(body: Any, **headers: str) -> Response:
    return Response(Request("GET", URL), 200, headers, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"@odata.nextLink": "u"}, "@odata.nextLink"),
        ({"odata.nextLink": "u"}, "odata.nextLink"),
        ({"d": {"results": [], "__next": "u"}}, "d.__next"),
        ({"next": "u"}, "next"),
        ({"links": {"next": "u"}}, "links.next"),
        ({"_links": {"next": {"href": "u"}}}, "_links.next"),
        ({"links": [{"rel": "self", "href": "u"}, {"rel": "next", "href": "u"}]}, "links"),
        ({"paging": {"next": "u", "cursors": {"after": "t"}}}, "paging.next"),
        ({"nextPage": 2}, "nextPage"),
        ({"next_page": "u"}, "next_page"),
        ({"nextPageToken": "t"}, "nextPageToken"),
        ({"next_page_token": "t"}, "next_page_token"),
        ({"nextLink": "u"}, "nextLink"),
        ({"nextRecordsUrl": "u", "done": False}, "nextRecordsUrl"),
        ({"response_metadata": {"next_cursor": "t"}}, "response_metadata.next_cursor"),
        ({"data": {"workers": {"pageInfo": {"hasNextPage": True}}}}, "data.workers.pageInfo.hasNextPage"),
        ({"isLastPage": False}, "isLastPage"),
        ({"page": {"last": False}}, "page.last"),
        ({"IsTruncated": True}, "IsTruncated"),
        ({"metadata": {"continue": "t"}}, "metadata.continue"),
        ({"LastEvaluatedKey": {"id": {"S": "1"}}}, "LastEvaluatedKey"),
        ({"records": [], "offset": "itrX/recY"}, "offset"),
        ({"has_more": True, "cursor": "t"}, "has_more"),
    ],
)
def test_a_member_that_leads_on_is_found_by_its_name(body: dict[str, Any], member: str) -> None:
    assert signs(answer({"value": [{"next": "no"}], **body})).more == member
    assert signs(answer(body), (member,)).more != member


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"next": None},
        {"next": ""},
        {"links": {"next": None}},
        {"links": {}},
        {"_links": {"next": {}}},
        {"offset": 50},
        {"offset": "50"},
        {"nextReview": "2024-01-01"},
        {"people": [{"next": "u", "has_more": True}]},
        {"@odata.deltaLink": "u"},
        {"nextSyncToken": "t"},
        {"last": "https://h/people?page=9"},
        {"count": 8},
    ],
)
def test_what_leads_nowhere_is_no_sign(body: Any) -> None:
    assert signs(answer(body)).more == ""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"has_more": False, "cursor": "t"}, Signs(token="cursor", end=True)),
        ({"has_more": False, "next_cursor": "t"}, Signs(more="next_cursor", end=True)),
        ({"done": True}, Signs(end=True)),
        ({"@odata.context": "c", "@odata.count": 7}, Signs(total=("@odata.count", 7), odata=True)),
        ({"d": {"__count": "7"}}, Signs(floor=("d.__count", 7))),
        (
            {"meta": {"totalCount": 7, "total_pages": 2}},
            Signs(total=("meta.totalCount", 7), pages=("meta.total_pages", 2)),
        ),
        ({"current_page": 1, "last_page": 5, "total": 70}, Signs(total=("total", 70), pages=("last_page", 5))),
        ({"error": {"message": "Ann"}}, Signs(errors="error")),
        ({"data": {}, "errors": []}, Signs()),
        ({"errorCode": "0", "error": False, "errorMessage": "OK"}, Signs()),
        ({"errorCode": "E17"}, Signs(errors="errorCode")),
        ({"timed_out": True, "hits": {"hits": []}}, Signs(errors="timed_out")),
        ({"total": True, "count": -0.5}, Signs()),
    ],
)
def test_ends_counts_and_failures_are_read(body: Any, expected: Signs) -> None:
    assert signs(answer(body)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-next-page": "2", "x-page": "1"}, Signs(more="the header x-next-page")),
        ({"x-next-page": ""}, Signs()),
        ({"x-total-count": "230"}, Signs(total=("the header x-total-count", 230))),
        ({"x-total-pages": "5"}, Signs(pages=("the header x-total-pages", 5))),
        ({"x-has-more": "true"}, Signs(more="the header x-has-more")),
        ({"x-has-more": "False"}, Signs(end=True)),
        ({"content-range": "0-49/230"}, Signs(total=("the header content-range", 230))),
        ({"content-range": "items 0-49/230"}, Signs(total=("the header content-range", 230))),
        ({"content-range": "0-49/*"}, Signs()),
        ({"x-request-id": "next", "x-error": "x", "count": "9"}, Signs()),
    ],
)
def test_headers_speak_as_members_do(headers: dict[str, str], expected: Signs) -> None:
    assert signs(answer([], **headers)) == expected
    assert signs(answer([], **headers), tuple(name.title() for name in headers)) == Signs()


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ('<https://h/a?page=2>; rel="next"', "https://h/a?page=2"),
        ('</a?page=1>; rel="prev", </a?page=3,4>; title="x; y"; rel="next last"', "/a?page=3,4"),
        ("</a>; rel=next", "/a"),
        ('</a>; rel="nextra"', None),
        ('</a>; rel="last"', None),
        ("", None),
    ],
)
def test_the_link_header_gives_the_next_address(link: str, address: str | None) -> None:
    response = answer({}, link=link)
    assert next_in_header(response) == address
    following = LinkHeader().next(response, response.request, 1)
    assert (following is None) is (address is None)
    if following is not None:
        assert following.url.startswith("https://h/a")
    assert bool(signs(response).more) is (address is not None)


def test_a_body_of_very_many_members_is_read_only_so_far() -> None:
    body = {f"m{number}": number for number in range(MEMBERS_MAX)} | {"next": "u"}
    assert signs(answer(body)).more == ""
