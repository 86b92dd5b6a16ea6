import json
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mis_http.pages import Page
from tests.suite import Suite, TenantHandle
from tests.user_service.requests import USERS, code, create, listed
from user_service.users.filters import UserFilter
from user_service.users.listing import encoded
from user_service.users.repository import page_through_door, page_through_session
from user_service.users.schemas import UserOut

CANARIES = [
    "'",
    "' or '1'='1",
    "'; drop table users; --",
    '"; select pg_sleep(9); --',
    "%",
    "_",
    "\\",
    "$1",
    ":p",
    "{slug}",
    "ada%' --",
]


async def filled(suite: Suite, count: int) -> TenantHandle:
    tenant = await suite.tenant("custom")
    lines = [f"user{number}@example.com,User {number}" for number in range(count)]
    csv = "\n".join(["email,name", *lines])
    answer = await suite.client.post(
        f"{USERS}/import", content=csv, headers=tenant.auth | {"Content-Type": "text/csv"}
    )
    assert answer.json()["created"] == count
    return tenant


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_every_user_is_on_exactly_one_page_while_others_come_and_go(
    suite: Suite, order: str, limit: int
) -> None:
    count = 30
    tenant = await filled(suite, count)
    seen: list[dict[str, Any]] = []
    path, pages = f"{USERS}?limit={limit}&order={order}", 0
    while path:
        answer = await suite.client.get(path, headers=tenant.auth)
        assert len(answer.json()) <= limit
        seen += answer.json()
        path = answer.links.get("next", {}).get("url", "")
        pages += 1
        if pages <= 3:
            fleeting = await create(suite, tenant, f"late{pages}@example.com")
            await create(suite, tenant, f"later{pages}@example.com")
            await suite.client.delete(f"{USERS}/{fleeting['id']}", headers=tenant.auth)
    ids = [user["id"] for user in seen]
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids, reverse=order == "desc")
    there = {user["email"] for user in seen}
    assert {f"user{number}@example.com" for number in range(count)} <= there


@pytest.fixture(scope="module")
async def growing(suite: Suite) -> TenantHandle:
    return await filled(suite, 12)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    order=st.sampled_from(["asc", "desc"]),
    limit=st.integers(1, 9),
    query=st.sampled_from(["", "user", "user1"]),
    joining=st.lists(st.integers(0, 2), max_size=5),
)
async def test_however_many_join_meanwhile_each_user_is_shown_once(
    suite: Suite, growing: TenantHandle, order: str, limit: int, query: str, joining: list[int]
) -> None:
    before = await listed(suite, growing, limit=200, q=query)
    path, seen = f"{USERS}?limit={limit}&order={order}&q={query}", list[str]()
    while path:
        answer = await suite.client.get(path, headers=growing.auth)
        seen += [user["email"] for user in answer.json()]
        path = answer.links.get("next", {}).get("url", "")
        for _ in range(joining.pop() if joining else 0):
            await create(suite, growing, f"user1-{uuid4().hex[:8]}@example.com")
    assert len(seen) == len(set(seen))
    assert set(before) <= set(seen)
    # Newcomers stand at the end of the list from the oldest on, and before what is left of the other.
    assert order == "asc" or seen == before


async def test_the_default_is_fifty_newest_first(suite: Suite) -> None:
    tenant = await filled(suite, 60)
    newest = await create(suite, tenant, "newest@example.com")
    answer = await suite.client.get(USERS, headers=tenant.auth)
    assert len(answer.json()) == 50
    assert answer.json()[0] == newest
    link = answer.links["next"]["url"]
    assert parse_qs(urlsplit(link).query).keys() == {"cursor"}
    assert "cursor" not in (await suite.client.get(f"{USERS}?limit=200", headers=tenant.auth)).headers.get(
        "link", ""
    )


async def test_the_next_page_keeps_the_filters(suite: Suite) -> None:
    tenant = await filled(suite, 12)
    first = await suite.client.get(f"{USERS}?q=user1&role=member&limit=2", headers=tenant.auth)
    second = await suite.client.get(first.links["next"]["url"], headers=tenant.auth)
    emails = [user["email"] for user in first.json() + second.json()]
    assert sorted(emails) == ["user10@example.com", "user11@example.com", "user1@example.com"]
    assert "next" not in second.links


async def test_search_ignores_case_and_accents_and_looks_at_beginnings(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant()
    await create(suite, tenant, "Zoe.M@example.com", name="Zoë Ångström-Müller")
    await create(suite, tenant, "bob@example.com", name="Bob Zoellner")
    await create(suite, other, "zoe@example.com", name="Zoë Elsewhere")
    both, zoe, nobody = ["bob@example.com", "Zoe.M@example.com"], ["Zoe.M@example.com"], list[str]()
    for query, found in {
        "ZO": both,
        "zoé": both,
        "zoe.m@EXAMPLE": zoe,
        "angstrom": zoe,
        "mull": zoe,
        "müller": zoe,
        "zoe ang": zoe,
        "ngstrom": nobody,
        "example.com": nobody,
        "angstrom bob": nobody,
        "elsewhere": nobody,
        " ": [*both, tenant.owner.email],
    }.items():
        assert await listed(suite, tenant, q=query) == found, query


async def test_a_changed_name_is_found_and_the_old_one_no_more(suite: Suite) -> None:
    tenant = await suite.tenant()
    user = await create(suite, tenant, "x@example.com", name="Ada Lovelace")
    await suite.client.patch(f"{USERS}/{user['id']}", json={"name": "Ada King"}, headers=tenant.auth)
    assert await listed(suite, tenant, q="lovelace") == []
    assert await listed(suite, tenant, q="king") == ["x@example.com"]


async def test_role_and_status_narrow_the_list(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await create(suite, tenant, "v@example.com", role="viewer")
    await create(suite, tenant, "m@example.com")
    await suite.client.patch(f"{USERS}/{user['id']}", json={"status": "disabled"}, headers=tenant.auth)
    assert await listed(suite, tenant, role="viewer") == ["v@example.com"]
    assert await listed(suite, tenant, status="disabled") == ["v@example.com"]
    assert await listed(suite, tenant, status="active", role="member") == ["m@example.com"]


@pytest.mark.parametrize("canary", CANARIES)
async def test_a_canary_is_looked_for_and_not_run(suite: Suite, canary: str) -> None:
    """Catalogue 43."""
    tenant = await suite.tenant("custom")
    await create(suite, tenant, "c@example.com", name=f"{canary} Canary")
    assert await listed(suite, tenant, q=canary) == ["c@example.com"]
    for parameter in ("role", "status", "order", "cursor", "limit"):
        answer = await suite.client.get(USERS, params={parameter: canary}, headers=tenant.auth)
        assert code(answer) == (422, "validation_failed")
        assert answer.json()["errors"][0]["field"] == parameter


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=1.5",
        "order=up",
        "cursor=AAAA",
        "q=%00",
        f"q={'x' * 201}",
        "role=",
        "status=x",
    ],
)
async def test_a_parameter_that_does_not_fit_is_told(suite: Suite, query: str) -> None:
    tenant = await suite.tenant()
    assert code(await suite.client.get(f"{USERS}?{query}", headers=tenant.auth)) == (422, "validation_failed")


async def test_both_doors_and_both_serialisers_say_the_same(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await create(
        suite, tenant, "ä@example.com", name='Quote " Back\\slash', attributes={"a": [1, None, {"ü": 0.1}]}
    )
    user = await create(suite, tenant, "x@example.com", name="\u2028 \U0001f680", role="viewer")
    async with suite.database.transaction(tenant.id) as session:
        for wanted in (UserFilter(), UserFilter(query="x"), UserFilter(role=None, status="active")):
            for page in (Page(), Page(limit=1), Page(ascending=True)):
                records = await page_through_door(suite.database, tenant.id, wanted, page)
                rows = await page_through_session(session, wanted, page)
                assert json.loads(encoded(records)) == [UserOut.of(row).wire() for row in rows]
    shown = await suite.client.get(f"{USERS}?limit=1", headers=tenant.auth)
    assert shown.json() == [user]
    assert shown.headers["content-type"] == "application/json"
    assert int(shown.headers["content-length"]) == len(shown.content)


async def test_the_schema_of_the_list_stands_in_the_description(suite: Suite) -> None:
    document = suite.apps["user"].openapi()
    answer = document["paths"][USERS]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["items"]["$ref"].endswith("/UserOut")


@pytest.mark.parametrize("limit", ["", "limit=1", "limit=7", "limit=20", "limit=200"])
async def test_the_lane_answers_as_the_endpoint_does(suite: Suite, limit: str) -> None:
    tenant = await filled(suite, 25)
    lane = await suite.client.get(f"{USERS}?{limit}", headers=tenant.auth)
    endpoint = await suite.client.get(f"{USERS}?{limit}&order=desc", headers=tenant.auth)
    assert (lane.status_code, lane.content) == (200, endpoint.content)
    assert lane.headers["content-type"] == endpoint.headers["content-type"]
    following = [answer.links.get("next", {}).get("url", "") for answer in (lane, endpoint)]
    cursors = [parse_qs(urlsplit(url).query).get("cursor") for url in following]
    assert cursors[0] == cursors[1]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=007", "limit=1&limit=2", "limit=x", "nonsense=1"]
)
async def test_what_the_lane_does_not_understand_is_the_endpoints_to_judge(suite: Suite, query: str) -> None:
    tenant = await suite.tenant()
    answer = await suite.client.get(f"{USERS}?{query}", headers=tenant.auth)
    assert answer.status_code == (422 if query in ("limit=0", "limit=201", "limit=x") else 200)
