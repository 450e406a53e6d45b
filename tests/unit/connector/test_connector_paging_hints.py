"""What a page says of whether more records follow, in the spelling of the most common sources."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sluice.connector import LinkHeader, Request, Response
from sluice.connector.paging import next_in_header
from sluice.connector.paging_hints import MEMBERS_MAX, PagingHints, paging_hints

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
    assert paging_hints(answer({"value": [{"next": "no"}], **body})).more == member
    assert paging_hints(answer(body), (member,)).more != member


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
def test_a_member_that_leads_nowhere_is_no_hint(body: Any) -> None:
    assert paging_hints(answer(body)).more == ""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"has_more": False, "cursor": "t"}, PagingHints(token="cursor", end=True)),
        ({"has_more": False, "next_cursor": "t"}, PagingHints(more="next_cursor", end=True)),
        ({"done": True}, PagingHints(end=True)),
        ({"@odata.context": "c", "@odata.count": 7}, PagingHints(total=("@odata.count", 7), odata=True)),
        ({"d": {"__count": "7"}}, PagingHints(floor=("d.__count", 7))),
        (
            {"meta": {"totalCount": 7, "total_pages": 2}},
            PagingHints(total=("meta.totalCount", 7), pages=("meta.total_pages", 2)),
        ),
        ({"current_page": 1, "last_page": 5, "total": 70}, PagingHints(total=("total", 70), pages=("last_page", 5))),
        ({"error": {"message": "Ann"}}, PagingHints(errors="error")),
        ({"data": {}, "errors": []}, PagingHints()),
        ({"errorCode": "0", "error": False, "errorMessage": "OK"}, PagingHints()),
        ({"errorCode": "E17"}, PagingHints(errors="errorCode")),
        ({"timed_out": True, "hits": {"hits": []}}, PagingHints(errors="timed_out")),
        ({"total": True, "count": -0.5}, PagingHints()),
    ],
)
def test_ends_counts_and_failures_are_read(body: Any, expected: PagingHints) -> None:
    assert paging_hints(answer(body)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-next-page": "2", "x-page": "1"}, PagingHints(more="the header x-next-page")),
        ({"x-next-page": ""}, PagingHints()),
        ({"x-total-count": "230"}, PagingHints(total=("the header x-total-count", 230))),
        ({"x-total-pages": "5"}, PagingHints(pages=("the header x-total-pages", 5))),
        ({"x-has-more": "true"}, PagingHints(more="the header x-has-more")),
        ({"x-has-more": "False"}, PagingHints(end=True)),
        ({"content-range": "0-49/230"}, PagingHints(total=("the header content-range", 230))),
        ({"content-range": "items 0-49/230"}, PagingHints(total=("the header content-range", 230))),
        ({"content-range": "0-49/*"}, PagingHints()),
        ({"x-request-id": "next", "x-error": "x", "count": "9"}, PagingHints()),
    ],
)
def test_headers_give_hints_as_members_do(headers: dict[str, str], expected: PagingHints) -> None:
    assert paging_hints(answer([], **headers)) == expected
    assert paging_hints(answer([], **headers), tuple(name.title() for name in headers)) == PagingHints()


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
    assert bool(paging_hints(response).more) is (address is not None)


def test_a_body_of_very_many_members_is_read_only_so_far() -> None:
    body = {f"m{number}": number for number in range(MEMBERS_MAX)} | {"next": "u"}
    assert paging_hints(answer(body)).more == ""
