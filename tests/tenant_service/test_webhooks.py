"""Webhooks through the API: made, shown, changed, deleted, and kept from leading inside."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from mis_http.outbound.reach import NameUnresolved, Reach, Resolve
from mis_models.webhooks import DeliveryRow, WebhookLaneRow, WebhookRow
from mis_tenancy.encryption import TenantKeys, key_version
from tenant_service.encryption_keys.reencryption import Reencryption
from tenant_service.webhooks.secrets import WebhookSecrets
from tenant_service.webhooks.signing import spelled
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, act_as, audit_rows, fields

URL = "https://93.184.215.14/hook"
EVENTS = ["user.created", "config.changed"]


def route(tenant: TenantHandle, under: str = "") -> str:
    return f"{TENANTS}/{tenant.id}/webhooks{under}"


async def make(suite: Suite, tenant: TenantHandle, **changes: Any) -> httpx.Response:
    body = {"url": URL, "events": EVENTS} | changes
    return await suite.client.post(route(tenant), json=body, headers=tenant.auth)


async def change(suite: Suite, tenant: TenantHandle, webhook_id: str, **body: Any) -> httpx.Response:
    return await suite.client.patch(route(tenant, f"/{webhook_id}"), json=body, headers=tenant.auth)


async def test_the_secret_is_shown_once_and_the_webhook_as_often_as_asked(suite: Suite) -> None:
    tenant = await suite.tenant()
    answer = await make(suite, tenant)
    made = fine(answer, 201)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert len(secret) == len("whsec_") + 44
    assert made["url"] == URL
    assert made["events"] == EVENTS
    assert (made["status"], made["disabledReason"], made["failingSince"]) == ("active", None, None)
    path = route(tenant, f"/{made['id']}")
    assert answer.headers["location"] == path
    shown = await suite.client.get(path, headers=tenant.auth)
    assert fine(shown) == made
    assert shown.headers["etag"] == answer.headers["etag"]
    assert fine(await suite.client.get(route(tenant), headers=tenant.auth)) == [made]


async def test_the_stored_secret_is_ciphertext_bound_to_its_webhook(suite: Suite) -> None:
    """Catalogue 132."""
    tenant = await suite.tenant()
    made = fine(await make(suite, tenant), 201)
    other = fine(await make(suite, tenant), 201)
    tenancy = suite.tenancy("tenant")
    async with tenancy.database.transaction(tenant.id) as session:
        rows = {str(row.id): row for row in await session.scalars(select(WebhookRow))}
        secrets = WebhookSecrets(session, TenantKeys(tenancy.wrapping))
        row = rows[made["id"]]
        assert spelled(await secrets.open(row.id, row.secret)) == made["secret"]
        with pytest.raises(Exception, match="damaged"):
            await secrets.open(rows[other["id"]].id, row.secret)


async def test_a_new_data_key_re_encrypts_both_secrets(suite: Suite) -> None:
    """Catalogue 133."""
    tenant = await suite.tenant()
    old = fine(await make(suite, tenant), 201)
    new = fine(await change(suite, tenant, old["id"], rotateSecret=True))
    path = f"{TENANTS}/{tenant.id}/encryption-keys/rotate"
    fine(await suite.client.post(path, headers=tenant.auth), 202)
    tenancy = suite.tenancy("tenant")
    keys = TenantKeys(tenancy.wrapping)
    await Reencryption(tenancy.database, keys, grace=0.0).finish(tenant.id)
    async with tenancy.database.transaction(tenant.id) as session:
        row = (await session.scalars(select(WebhookRow))).one()
        secrets = WebhookSecrets(session, keys)
        assert row.previous_secret is not None
        assert {key_version(row.secret), key_version(row.previous_secret)} == {2}
        assert spelled(await secrets.open(row.id, row.secret)) == new["secret"]
        assert spelled(await secrets.open(row.id, row.previous_secret)) == old["secret"]


async def test_what_may_be_changed_is_changed_and_the_rest_stays(suite: Suite) -> None:
    tenant = await suite.tenant()
    made = fine(await make(suite, tenant), 201)
    moved = fine(await change(suite, tenant, made["id"], url="https://93.184.215.14/new?token=t0p"))
    assert moved["secret"] is None
    assert (moved["url"], moved["events"]) == ("https://93.184.215.14/new?token=t0p", EVENTS)
    asked = fine(await change(suite, tenant, made["id"], events=["user.deleted", "user.deleted"]))
    assert asked["events"] == ["user.deleted"]
    off = fine(await change(suite, tenant, made["id"], status="disabled"))
    assert (off["status"], off["disabledReason"]) == ("disabled", "requested")
    on = fine(await change(suite, tenant, made["id"], status="active"))
    assert (on["status"], on["disabledReason"]) == ("active", None)
    same = await change(suite, tenant, made["id"], status="active", events=["user.deleted"])
    assert fine(same)["updatedAt"] == on["updatedAt"]


async def test_each_change_leaves_one_row_in_the_log_without_tokens_or_secrets(suite: Suite) -> None:
    """Catalogue 128, 134."""
    tenant = await suite.tenant()
    made = fine(await make(suite, tenant, url=f"{URL}?token=t0ken"), 201)
    webhook_id = made["id"]
    rotated = fine(await change(suite, tenant, webhook_id, url="https://8.8.8.8/p4th", rotateSecret=True))
    fine(await suite.client.post(route(tenant, f"/{webhook_id}/ping"), headers=tenant.auth), 202)
    (delivery,) = fine(
        await suite.client.get(route(tenant, f"/{webhook_id}/deliveries"), headers=tenant.auth)
    )
    replay = route(tenant, f"/{webhook_id}/deliveries/{delivery['id']}/replay")
    fine(await suite.client.post(replay, headers=tenant.auth), 202)
    fine(await suite.client.delete(route(tenant, f"/{webhook_id}"), headers=tenant.auth), 204)
    answer = await suite.client.get(
        f"{TENANTS}/{tenant.id}/audit-logs", params={"kind": "change"}, headers=tenant.auth
    )
    rows = [row for row in fine(answer) if row["action"].startswith("webhook.")]
    actions = ["created", "updated", "pinged", "replayed", "deleted"]
    assert [row["action"] for row in reversed(rows)] == [f"webhook.{action}" for action in actions]
    assert {row["resource"] for row in rows} == {f"webhooks/{webhook_id}"}
    updated = rows[-2]["changes"]
    assert updated["url"] == {"old": "https://93.184.215.14", "new": "https://8.8.8.8"}
    assert updated["secret"] == {}
    for private in ("t0ken", "p4th", made["secret"], rotated["secret"]):
        assert private not in answer.text


async def test_a_change_that_rests_on_an_old_version_is_refused(suite: Suite) -> None:
    tenant = await suite.tenant()
    answer = await make(suite, tenant)
    path, stale = route(tenant, f"/{fine(answer, 201)['id']}"), {"If-Match": answer.headers["etag"]}
    fine(await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth | stale))
    for request in (
        suite.client.patch(path, json={"status": "active"}, headers=tenant.auth | stale),
        suite.client.delete(path, headers=tenant.auth | stale),
    ):
        refused(await request, 412, "precondition_failed")


async def test_deleting_a_webhook_removes_what_is_on_its_way_to_it(suite: Suite) -> None:
    tenant = await suite.tenant()
    made, kept = [fine(await make(suite, tenant), 201)["id"] for _ in range(2)]
    for webhook_id in (made, kept):
        fine(await suite.client.post(route(tenant, f"/{webhook_id}/ping"), headers=tenant.auth), 202)
    fine(await suite.client.delete(route(tenant, f"/{made}"), headers=tenant.auth), 204)
    refused(
        await suite.client.get(route(tenant, f"/{made}/deliveries"), headers=tenant.auth),
        404,
        "webhook_not_found",
    )
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        for table in (DeliveryRow.webhook_id, WebhookLaneRow.webhook_id):
            assert [str(one) for one in await session.scalars(select(table))] == [kept]


@pytest.mark.parametrize(
    ("changes", "unfit"),
    [
        ({"url": ""}, ("url", "too_short")),
        ({"url": "https://a.example/" + "x" * 2100}, ("url", "too_long")),
        ({"url": None}, ("url", "string_type")),
        ({"url": "https://a.example/\x00"}, ("url", "value_error")),
        ({"events": []}, ("events", "too_short")),
        ({"events": ["user.renamed"]}, ("events.0", "enum")),
        ({"events": ["webhook.ping"]}, ("events.0", "enum")),
        ({"events": "user.created"}, ("events", "list_type")),
        ({"secret": "whsec_mine"}, ("secret", "extra_forbidden")),
    ],
)
async def test_a_body_that_does_not_fit_is_refused_with_the_field(
    suite: Suite, changes: dict[str, Any], unfit: tuple[str, str]
) -> None:
    tenant = await suite.tenant()
    document = refused(await make(suite, tenant, **changes), 422, "validation_failed")
    assert fields(document) == [unfit]


@pytest.mark.parametrize(
    "url",
    [
        *("http://93.184.215.14/", "https://127.0.0.1/", "https://[::1]/", "https://0.0.0.0/"),
        *(
            "https://169.254.169.254/latest/",
            "https://10.0.0.1/",
            "https://100.64.0.1/",
            "https://[fc00::1]/",
        ),
        *("https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://2130706433/"),
        *("https://0x7f000001/", "https://0177.0.0.1/", "https://localhost./", "https://localhost/"),
        *("https://u:p@93.184.215.14/", "ftp://93.184.215.14/", "https://93.184.215.14:22/"),
        *("https://93.184.215.14:6379/", "https://redis/", "nonsense"),
    ],
)
async def test_a_url_that_leads_inside_is_refused_when_it_is_saved(suite: Suite, url: str) -> None:
    """Catalogue 120."""
    tenant = await suite.tenant()
    document = refused(await make(suite, tenant, url=url), 422, "webhook_url_refused")
    assert fields(document) == [("url", "webhook_url_refused")]
    made = fine(await make(suite, tenant), 201)
    refused(await change(suite, tenant, made["id"], url=url), 422, "webhook_url_refused")


@contextmanager
def resolving(suite: Suite, resolve: Resolve) -> Iterator[None]:
    """Let the tenant service look names up by `resolve`."""
    state = suite.apps["tenant"].state
    own, state.reach = state.reach, Reach(allow_private=False, resolve=resolve)
    try:
        yield
    finally:
        state.reach = own


async def test_a_name_is_looked_up_when_it_is_saved_and_may_not_exist_yet(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 120."""
    tenant = await suite.tenant()

    async def resolve(host: str, port: int) -> list[str]:
        if host == "slow.example":
            await asyncio.Event().wait()
        if host == "later.example":
            raise NameUnresolved(host)
        return ["192.168.0.7"]

    monkeypatch.setattr("tenant_service.webhooks.service._LOOK_UP_SECONDS", 0.1)
    with resolving(suite, resolve):
        refused(await make(suite, tenant, url="https://inside.example/"), 422, "webhook_url_refused")
        for name in ("later", "slow"):
            fine(await make(suite, tenant, url=f"https://{name}.example/"), 201)


async def test_a_tenant_has_at_most_twenty_webhooks_however_many_ask_at_once(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for _ in range(17):
        fine(await make(suite, tenant), 201)
    answers = await asyncio.gather(*(make(suite, tenant) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409, 409, 409]
    document = refused(await make(suite, tenant), 409, "limit_exceeded")
    assert (document["resource"], document["limit"], document["used"]) == ("webhooks", 20, 20)


async def test_a_creation_that_is_sent_again_makes_one_webhook_and_tells_its_secret_again(
    suite: Suite,
) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant()
    headers = tenant.auth | {"Idempotency-Key": "hook-1"}
    body = {"url": URL, "events": EVENTS}
    first, again = [await suite.client.post(route(tenant), json=body, headers=headers) for _ in range(2)]
    assert fine(first, 201) == fine(again, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(fine(await suite.client.get(route(tenant), headers=tenant.auth))) == 1


async def test_an_operator_sees_and_deletes_and_plants_nothing(suite: Suite) -> None:
    tenant = await suite.tenant()
    made = fine(await make(suite, tenant), 201)
    one, body = route(tenant, f"/{made['id']}"), {"url": URL, "events": EVENTS}
    assert fine(await suite.client.get(route(tenant), headers=suite.operator))[0]["id"] == made["id"]
    ping = fine(await suite.client.post(f"{one}/ping", headers=suite.operator), 202)
    for method, path, json in (
        ("POST", route(tenant), body),
        ("PATCH", one, {"url": URL}),
        ("POST", f"{one}/deliveries/{ping['id']}/replay", None),
    ):
        answer = await suite.client.request(method, path, json=json, headers=suite.operator)
        refused(answer, 403, "act_as_required")
    fine(await suite.client.post(route(tenant), json=body, headers=await act_as(suite, tenant)), 201)
    fine(await suite.client.delete(one, headers=suite.operator), 204)
    rows = [row["action"] for row in await audit_rows(suite, tenant.id)]
    assert rows.count("webhook.deleted") == 1


async def test_nothing_is_sent_to_a_disabled_webhook_on_request_either(suite: Suite) -> None:
    tenant = await suite.tenant()
    made = fine(await make(suite, tenant), 201)
    one = route(tenant, f"/{made['id']}")
    ping = fine(await suite.client.post(f"{one}/ping", headers=tenant.auth), 202)
    fine(await change(suite, tenant, made["id"], status="disabled"))
    for path in (f"{one}/ping", f"{one}/deliveries/{ping['id']}/replay"):
        refused(await suite.client.post(path, headers=tenant.auth), 409, "webhook_disabled")


async def test_deliveries_are_listed_by_page_and_status_and_only_their_webhooks(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    made, other = [fine(await make(suite, tenant), 201)["id"] for _ in range(2)]
    pings = [
        fine(await suite.client.post(route(tenant, f"/{made}/ping"), headers=tenant.auth), 202)["id"]
        for _ in range(3)
    ]
    path = route(tenant, f"/{made}/deliveries")
    page = await suite.client.get(path, params={"limit": 2}, headers=tenant.auth)
    rest = await suite.client.get(page.links["next"]["url"], headers=tenant.auth)
    listed = fine(page) + fine(rest)
    assert {row["id"] for row in listed} == set(pings)
    assert [row["id"] for row in listed] == sorted((row["id"] for row in listed), reverse=True)
    for status, count in (("pending", 3), ("delivered", 0)):
        answer = await suite.client.get(path, params={"status": status}, headers=tenant.auth)
        assert len(fine(answer)) == count
    for webhook_id, delivery_id in ((other, pings[0]), (made, str(uuid4())), (made, "x")):
        replay = route(tenant, f"/{webhook_id}/deliveries/{delivery_id}/replay")
        refused(await suite.client.post(replay, headers=tenant.auth), 404, "delivery_not_found")


async def test_a_member_without_the_permission_reaches_no_webhook(suite: Suite) -> None:
    tenant = await suite.tenant()
    member = await suite.user(tenant, "member")
    document = refused(await suite.client.get(route(tenant), headers=member.auth), 403, "permission_denied")
    assert document["required"] == "webhooks:write"
