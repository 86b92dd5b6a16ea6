"""API keys: what one may do, how it ends, and that it opens one tenant and nothing of a person's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from mis_models.api_keys import ApiKeyRow
from mis_tenancy.access import ROLE_PERMISSIONS
from mis_tenancy.database import Database
from mis_tenancy.errors import TenantUnavailable, TokenInvalid, TokenRevoked
from mis_tenancy.identifiers import new_id
from mis_tenancy.postgres.poolers import Pooler
from mis_tenancy.tables import AuditRow
from mis_tenancy.tenant import PrincipalKind, Role
from mis_tenancy.tokens import api_keys
from mis_tenancy.tokens.api_key_texts import ApiKey, new_api_key, parse_api_key
from mis_tenancy.tokens.api_keys import ApiKeys
from tests.answers import bearer, eventually, fine, refused
from tests.auth_service.programs import KEYS, add_api_key, ask
from tests.auth_service.requests import AUTH, alter, audited, logout, security_events, set_status
from tests.database import CountingProxy
from tests.integration.rig import flush
from tests.suite import PASSWORD, Suite, TenantHandle, UserHandle

USERS = "/api/v1/users"
NEWCOMER = {"email": "new@programs.example", "name": "Nina New"}


@pytest.fixture(scope="module")
async def tenant(suite: Suite) -> TenantHandle:
    return await suite.tenant("custom")


def parsed(key: str) -> ApiKey:
    found = parse_api_key(key)
    assert found is not None
    return found


def in_every_service(tenant: TenantHandle) -> tuple[str, ...]:
    return USERS, f"/api/v1/tenants/{tenant.id}/usage", f"{AUTH}/permissions"


async def change(suite: Suite, tenant: TenantHandle, user: UserHandle, **fields: str) -> None:
    fine(await suite.client.patch(f"{USERS}/{user.id}", json=fields, headers=tenant.auth))


async def test_a_key_is_a_bearer_in_every_service(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    made = await add_api_key(suite, tenant, "users:read", "usage:read")
    assert set(made) == {
        *("id", "name", "prefix", "scopes", "expiresAt", "lastUsedAt", "createdAt", "createdBy", "key")
    }
    assert made["key"].startswith(made["prefix"])
    assert made["scopes"] == ["usage:read", "users:read"]
    assert made["createdBy"] == str(tenant.owner.id)
    for path in in_every_service(tenant):
        answer = await ask(suite, made["key"], path)
        fine(answer)
        assert '"burst"' in answer.headers["ratelimit-policy"]
    assert (
        refused(await ask(suite, made["key"], method="POST", json=NEWCOMER), 403, "permission_denied")[
            "required"
        ]
        == "users:write"
    )


async def test_a_key_is_shown_once_and_only_its_digest_is_kept(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    made = await add_api_key(suite, tenant)
    listed = fine(await suite.client.get(KEYS, headers=tenant.auth))
    own = next(one for one in listed if one["id"] == made["id"])
    assert own == {name: value for name, value in made.items() if name != "key"}
    async with suite.database.transaction(tenant.id) as session:
        row = await session.get_one(ApiKeyRow, (tenant.id, UUID(made["id"])))
        assert row.key_hash == sha256(made["key"].encode()).digest()
        assert made["key"] not in str(vars(row))


async def test_a_key_that_is_made_twice_with_one_idempotency_key_is_one(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 137."""
    body = {"name": "CI", "scopes": ["users:read"]}
    headers = tenant.auth | {"Idempotency-Key": "one-key"}
    first = await suite.client.post(KEYS, headers=headers, json=body)
    again = await suite.client.post(KEYS, headers=headers, json=body)
    assert fine(first, 201) == fine(again, 201)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["users:read", "users:everything"]}, "scopes.1"),
        ({"scopes": "users:read"}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "2999-01-01T00:00:00"}, "expiresAt"),
        ({"expiresAt": "tomorrow"}, "expiresAt"),
        ({"expiresAt": "9999-12-31T23:59:59-12:00"}, "expiresAt"),
        ({"expiresAt": "0001-01-01T00:00:00+12:00"}, "expiresAt"),
        ({"tenantId": str(new_id())}, "tenantId"),
        ({"createdBy": str(new_id())}, "createdBy"),
    ],
)
async def test_a_body_that_does_not_fit_is_named_by_its_field(
    suite: Suite, tenant: TenantHandle, fields: dict[str, Any], field: str
) -> None:
    """Catalogue 94."""
    body = {"name": "CI", "scopes": ["users:read"]} | fields
    document = refused(
        await suite.client.post(KEYS, json=body, headers=tenant.auth), 422, "validation_failed"
    )
    assert [error["field"] for error in document["errors"]] == [field]


async def test_nobody_gives_a_key_a_scope_that_they_lack(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    admin = await suite.user(tenant, "admin")
    body = {"name": "CI", "scopes": ["users:read", "tenant:delete", "keys:write"]}
    document = refused(await suite.client.post(KEYS, json=body, headers=admin.auth), 403, "permission_denied")
    assert document["required"] == "keys:write"


async def test_a_tenant_has_so_many_keys_that_work_and_no_more(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 98, 99."""
    monkeypatch.setattr("auth_service.api_keys.service.MOST_KEYS", 3)
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    body = {"name": "CI", "scopes": ["users:read"]}
    first = await add_api_key(suite, tenant)
    answers = await asyncio.gather(
        *(suite.client.post(KEYS, json=body, headers=tenant.auth) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409, 409]
    document = refused(next(one for one in answers if one.status_code == 409), 409, "limit_exceeded")
    told = {name: document[name] for name in ("resource", "limit", "used", "requested")}
    assert told == {"resource": "apiKeys", "limit": 3, "used": 3, "requested": 1}
    await add_api_key(suite, other)
    # Neither one that is revoked nor one that is past its time takes a place.
    fine(await suite.client.delete(f"{KEYS}/{first['id']}", headers=tenant.auth), 204)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    await add_api_key(suite, tenant, expiresAt=soon.isoformat())
    await asyncio.sleep(2)
    await add_api_key(suite, tenant)
    refused(await suite.client.post(KEYS, json=body, headers=tenant.auth), 409, "limit_exceeded")


async def test_a_key_makes_no_keys_but_may_list_and_revoke_them(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    made = await add_api_key(suite, tenant, "users:read", "apikeys:write")
    leaked = await add_api_key(suite, tenant)
    body = {"name": "Offspring", "scopes": ["users:read"]}
    document = refused(await ask(suite, made["key"], KEYS, "POST", json=body), 403, "permission_denied")
    assert document["required"] == "person"
    assert leaked["id"] in {one["id"] for one in fine(await ask(suite, made["key"], KEYS))}
    fine(await ask(suite, made["key"], f"{KEYS}/{leaked['id']}", "DELETE"), 204)
    refused(await ask(suite, leaked["key"], f"{AUTH}/permissions"), 401, "token_revoked")


FOR_PEOPLE = (
    ("GET", f"{AUTH}/me"),
    ("GET", f"{AUTH}/sessions"),
    ("DELETE", f"{AUTH}/sessions"),
    ("DELETE", f"{AUTH}/sessions/{UUID(int=1)}"),
    ("POST", f"{AUTH}/password/change"),
    ("POST", f"{AUTH}/act-as"),
    ("POST", f"{AUTH}/signing-keys/rotate"),
    ("POST", f"{AUTH}/mfa/totp/enroll"),
    ("POST", f"{AUTH}/mfa/recovery-codes"),
    ("POST", f"{AUTH}/passkeys/register/options"),
    ("GET", f"{AUTH}/passkeys"),
)


@pytest.mark.parametrize(("method", "path"), FOR_PEOPLE)
async def test_a_route_of_a_person_takes_no_key(
    suite: Suite, tenant: TenantHandle, method: str, path: str
) -> None:
    """Catalogue 98."""
    made = await add_api_key(suite, tenant, *ROLE_PERMISSIONS[Role.OWNER])
    document = refused(await ask(suite, made["key"], path, method, json={}), 403, "permission_denied")
    assert document["required"] == "person"


async def test_a_key_signs_nobody_out(suite: Suite, tenant: TenantHandle) -> None:
    made = await add_api_key(suite, tenant)
    refused(await logout(suite, headers=bearer(made["key"])), 401, "token_invalid")
    fine(await ask(suite, made["key"]))


async def test_a_key_with_another_tenants_host_or_header_is_a_mismatch(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98, 6."""
    made, other = await add_api_key(suite, tenant), await suite.tenant()
    answers = [
        await ask(suite, made["key"], headers={"X-Tenant-ID": str(other.id)}),
        await ask(suite, made["key"], headers={"X-Tenant-ID": str(new_id())}),
        await ask(suite, made["key"], headers={"X-Tenant-Slug": other.slug}),
        await ask(suite, made["key"], params={"tenant": other.slug}),
        await ask(suite, made["key"], base_url=f"http://{other.slug}.mis.local"),
    ]
    documents = [refused(answer, 403, "tenant_mismatch") for answer in answers]
    assert len({str(document | {"requestId": ""}) for document in documents}) == 1
    await flush(suite)
    events = [row for row in await security_events(suite, tenant) if row.action == "tenant_mismatch"]
    assert {row.actor for row in events} == {UUID(made["id"])}
    fine(await ask(suite, made["key"], headers={"X-Tenant-ID": str(tenant.id)}))
    fine(await ask(suite, made["key"], base_url=f"http://{tenant.slug}.mis.local"))


async def test_a_key_with_another_tenants_id_in_it_is_nobodys(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    made, other = parsed((await add_api_key(suite, tenant))["key"]), await suite.tenant()
    for tenant_id in (other.id, new_id()):
        forged = ApiKey(made.id, tenant_id, made.secret)
        refused(await ask(suite, forged.text), 401, "token_invalid")
    refused(await ask(suite, ApiKey(made.id, made.tenant_id, b"\0" * 32).text), 401, "token_invalid")
    refused(await ask(suite, new_api_key(tenant.id).text), 401, "token_invalid")


@pytest.mark.parametrize("kind", ["refreshToken", "invitation", "nothing"])
async def test_an_opaque_token_of_another_kind_is_no_key(
    suite: Suite, tenant: TenantHandle, kind: str
) -> None:
    """Catalogue 65, 71."""
    texts = {
        "refreshToken": tenant.owner.refresh_token,
        "invitation": "mis_in_" + "A" * 43,
        "nothing": "mis_",
    }
    refused(await ask(suite, texts[kind]), 401, "token_invalid")


@asynccontextmanager
async def counted(suite: Suite, tenant: TenantHandle) -> AsyncIterator[tuple[ApiKeys, CountingProxy]]:
    """Yield a verifier of its own behind a proxy that counts, with its statement prepared."""
    async with CountingProxy(str(suite.settings.database_url)) as proxy:
        database = Database(proxy.url, pool_size=1)
        await database.start()
        keys = ApiKeys(database, suite.tenancy().feed)
        with pytest.raises(TokenInvalid):
            await keys.principal_of(new_api_key(tenant.id).text)
        proxy.reset()
        try:
            yield keys, proxy
        finally:
            await database.stop()


def once(proxy: CountingProxy) -> int:
    """Return the turns of a look-up: beginning, query, end; a query that is not kept is parsed before."""
    return 4 if Pooler.UNPREPARED in proxy.url else 3


async def test_a_mistyped_key_is_refused_without_a_query(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    text = (await add_api_key(suite, tenant))["key"]
    async with counted(suite, tenant) as (keys, proxy):
        with pytest.raises(TokenInvalid):
            await keys.principal_of(text[:-1] + ("0" if text[-1] != "0" else "1"))
        assert proxy.turns == 0


async def test_a_key_is_looked_up_once_in_one_transaction_of_its_tenant(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98."""
    text = (await add_api_key(suite, tenant))["key"]
    async with counted(suite, tenant) as (keys, proxy):
        found = await asyncio.gather(*(keys.principal_of(text) for _ in range(50)))
        assert {one.id for one in found} == {parsed(text).id}
        await keys.principal_of(text)
        assert proxy.turns == once(proxy)
        assert f"SET LOCAL app.tenant_id = '{tenant.id}'".encode() in proxy.sent[0]


async def test_a_key_that_is_nobodys_is_looked_up_once(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    text = new_api_key(tenant.id).text
    async with counted(suite, tenant) as (keys, proxy):
        for _ in range(3):
            with pytest.raises(TokenInvalid):
                await keys.principal_of(text)
        assert proxy.turns == once(proxy)


async def test_neither_good_keys_nor_invented_ones_fill_the_memory(
    suite: Suite, tenant: TenantHandle
) -> None:
    keys = ApiKeys(suite.database, suite.tenancy().feed, remembered=5)
    good = [(await add_api_key(suite, tenant))["key"] for _ in range(3)]
    for text in good:
        await keys.principal_of(text)
    for _ in range(12):
        with pytest.raises(TokenInvalid):
            await keys.principal_of(new_api_key(tenant.id).text)
    assert (len(keys._found), len(keys._nobodys), keys._loading) == (3, 5, {})


async def test_a_revoked_key_is_refused_within_a_second_in_every_service(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98, 67."""
    made = await add_api_key(suite, tenant, "users:read", "usage:read")
    for path in in_every_service(tenant):
        fine(await ask(suite, made["key"], path))
    fine(await suite.client.delete(f"{KEYS}/{made['id']}", headers=tenant.auth), 204)
    for path in in_every_service(tenant):

        async def again(path: str = path) -> httpx.Response:
            return await ask(suite, made["key"], path)

        refused(await eventually(again, lambda answer: answer.status_code != 200), 401, "token_revoked")
    refused(await suite.client.delete(f"{KEYS}/{made['id']}", headers=tenant.auth), 404, "api_key_not_found")
    listed = fine(await suite.client.get(KEYS, headers=tenant.auth))
    assert made["id"] not in {one["id"] for one in listed}


async def test_a_revocation_holds_after_its_news_has_been_forgotten(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98."""
    made = await add_api_key(suite, tenant)
    fine(await suite.client.delete(f"{KEYS}/{made['id']}", headers=tenant.auth), 204)
    for service in suite.apps:
        feed = suite.tenancy(service).feed
        await feed.poll()
        feed._ended.clear()
    refused(await ask(suite, made["key"]), 401, "token_revoked")


async def test_a_verified_key_is_read_again_before_news_of_it_could_be_forgotten(
    suite: Suite, tenant: TenantHandle
) -> None:
    now = 1000.0
    keys = ApiKeys(suite.database, suite.tenancy().feed, elapsed=lambda: now)
    made = await add_api_key(suite, tenant)
    await keys.principal_of(made["key"])
    own = update(ApiKeyRow).where(ApiKeyRow.id == UUID(made["id"]))
    await alter(suite, tenant, own.values(revoked_at=datetime.now(UTC)))
    await keys.principal_of(made["key"])
    now += 61
    with pytest.raises(TokenRevoked):
        await keys.principal_of(made["key"])


async def test_a_flood_of_invented_keys_holds_no_key_up_that_is_known(
    suite: Suite, tenant: TenantHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = parsed((await add_api_key(suite, tenant))["key"])
    new = parsed((await add_api_key(suite, tenant))["key"])
    now = 0.0
    keys = ApiKeys(suite.database, suite.tenancy().feed, elapsed=lambda: now)
    await keys.principal_of(known.text)
    monkeypatch.setattr(api_keys, "_PATIENCE_SECONDS", 0.2)
    places = api_keys._LOOKUPS_AT_ONCE
    for _ in range(places):
        await keys._lookups.acquire()
    now = 61.0
    assert (await keys.principal_of(known.text)).id == known.id
    with pytest.raises(TenantUnavailable):
        await keys.principal_of(new.text)
    for _ in range(places):
        keys._lookups.release()
    assert (await keys.principal_of(new.text)).id == new.id


async def test_an_expired_key_is_told_apart_from_a_revoked_one(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98."""
    soon = (datetime.now(UTC) + timedelta(seconds=1.2)).isoformat()
    made = await add_api_key(suite, tenant, expiresAt=soon)
    fine(await ask(suite, made["key"]))
    await asyncio.sleep(1.3)
    answer = await ask(suite, made["key"])
    refused(answer, 401, "token_expired")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_keys_scopes_are_cut_to_what_its_creators_role_allows_now(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98."""
    admin = await suite.user(tenant, "admin")
    made = await add_api_key(suite, tenant, "users:write", *ROLE_PERMISSIONS[Role.MEMBER], by=admin)
    new = NEWCOMER | {"email": "first@programs.example"}
    fine(await ask(suite, made["key"], method="POST", json=new), 201)
    await change(suite, tenant, admin, role="viewer")
    answer = await ask(suite, made["key"], method="POST", json=NEWCOMER)
    assert refused(answer, 403, "permission_denied")["required"] == "users:write"
    fine(await ask(suite, made["key"]))
    await change(suite, tenant, admin, role="admin")
    new = NEWCOMER | {"email": "second@programs.example"}
    fine(await ask(suite, made["key"], method="POST", json=new), 201)


async def test_the_keys_of_a_disabled_creator_stop_until_they_are_back(
    suite: Suite, tenant: TenantHandle
) -> None:
    """Catalogue 98, 67."""
    admin = await suite.user(tenant, "admin")
    made = await add_api_key(suite, tenant, by=admin)
    fine(await ask(suite, made["key"]))
    await change(suite, tenant, admin, status="disabled")
    refused(await ask(suite, made["key"]), 401, "token_revoked")
    await change(suite, tenant, admin, status="active")
    fine(await ask(suite, made["key"]))


async def test_the_keys_of_a_deleted_creator_are_gone(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98, 67."""
    admin = await suite.user(tenant, "admin")
    made = await add_api_key(suite, tenant, by=admin)
    fine(await ask(suite, made["key"]))
    fine(await suite.client.delete(f"{USERS}/{admin.id}", headers=tenant.auth), 204)
    refused(await ask(suite, made["key"]), 401, "token_invalid")
    async with suite.database.transaction(tenant.id) as session:
        assert await session.scalar(select(ApiKeyRow).where(ApiKeyRow.id == UUID(made["id"]))) is None


async def test_keys_rest_while_their_tenant_is_suspended(suite: Suite) -> None:
    """Catalogue 4."""
    tenant = await suite.tenant()
    made = await add_api_key(suite, tenant)
    fine(await ask(suite, made["key"]))
    await set_status(suite, tenant, "suspended", "abuse", raise_epoch=True)
    assert refused(await ask(suite, made["key"]), 403, "tenant_suspended")["reason"] == "abuse"
    await set_status(suite, tenant, "suspended", "past_due", raise_epoch=True)
    refused(await ask(suite, made["key"]), 403, "tenant_suspended")
    await set_status(suite, tenant, "pending_deletion", raise_epoch=True)
    refused(await ask(suite, made["key"]), 403, "tenant_pending_deletion")
    await set_status(suite, tenant, "active", raise_epoch=True)
    fine(await ask(suite, made["key"]))


async def test_a_narrow_key_makes_nobody_wider_than_itself(suite: Suite, tenant: TenantHandle) -> None:
    """Catalogue 98, 94."""
    narrow = await add_api_key(suite, tenant, "users:read", "users:write")
    members = await add_api_key(suite, tenant, "users:write", *ROLE_PERMISSIONS[Role.MEMBER])
    wide = await add_api_key(suite, tenant, *ROLE_PERMISSIONS[Role.ADMIN])
    for key, role, status in (
        (narrow, "viewer", 403),
        (members, "member", 201),
        (members, "admin", 403),
        (wide, "admin", 201),
        (wide, "owner", 403),
    ):
        body = {"email": f"{role}-{status}-{key['id']}@programs.example", "name": "New", "role": role}
        answer = await ask(suite, key["key"], method="POST", json=body | {"password": PASSWORD})
        assert answer.status_code == status, answer.text
    answer = await ask(suite, narrow["key"], f"{USERS}/{tenant.owner.id}", "PATCH", json={"name": "Taken"})
    refused(answer, 403, "permission_denied")


async def test_what_a_key_does_is_the_tenants_usage_and_stands_in_its_log_under_the_keys_id(
    suite: Suite,
) -> None:
    """Catalogue 98."""
    tenant = await suite.tenant("enterprise")
    made = await add_api_key(suite, tenant, "users:write", *ROLE_PERMISSIONS[Role.MEMBER])
    fine(await ask(suite, made["key"], method="POST", json=NEWCOMER), 201)
    await flush(suite)
    async with suite.database.transaction(tenant.id) as session:
        rows = await session.scalars(select(AuditRow).where(AuditRow.actor == UUID(made["id"])))
        assert {(row.kind, row.actor_kind, row.action) for row in rows} == {
            ("request", PrincipalKind.API_KEY, f"POST {USERS}"),
            ("change", PrincipalKind.API_KEY, "user.created"),
        }
    assert (await audited(suite, tenant)).count("api_key.created") == 1
    path = f"/api/v1/tenants/{tenant.id}/analytics"
    told = fine(await suite.client.get(path, params={"timeRange": "1d"}, headers=tenant.auth))
    assert made["id"] in str(told)


async def test_a_keys_last_use_is_written_down_with_the_audit_log(suite: Suite, tenant: TenantHandle) -> None:
    made = await add_api_key(suite, tenant)
    before = datetime.now(UTC) - timedelta(seconds=1)
    fine(await ask(suite, made["key"]))
    refused(await ask(suite, made["key"], method="POST", json=NEWCOMER), 403, "permission_denied")
    await flush(suite)

    async def last_used() -> datetime:
        listed = fine(await suite.client.get(KEYS, headers=tenant.auth))
        own = next(one for one in listed if one["id"] == made["id"])
        return datetime.fromisoformat(own["lastUsedAt"])

    first = await last_used()
    assert before < first <= datetime.now(UTC)
    # Not again within a minute: a busy key would else write its row with each batch.
    fine(await ask(suite, made["key"]))
    await flush(suite)
    assert await last_used() == first
    own = update(ApiKeyRow).where(ApiKeyRow.id == UUID(made["id"]))
    await alter(suite, tenant, own.values(last_used_at=first - timedelta(minutes=2)))
    fine(await ask(suite, made["key"]))
    await flush(suite)
    assert await last_used() > first


async def test_a_key_counts_against_its_tenants_limit(suite: Suite) -> None:
    """Catalogue 98."""
    tenant = await suite.tenant()
    made = await add_api_key(suite, tenant)
    before = int((await ask(suite, made["key"])).headers["x-ratelimit-remaining"])
    assert int((await ask(suite, made["key"])).headers["x-ratelimit-remaining"]) == before - 1


async def test_without_the_database_a_new_key_is_answered_later_and_not_refused(
    suite: Suite, tenant: TenantHandle
) -> None:
    text = (await add_api_key(suite, tenant))["key"]
    async with counted(suite, tenant) as (keys, proxy):
        proxy.silence()
        with pytest.raises(TenantUnavailable):
            await keys.principal_of(text)
        proxy.heal()
        assert (await keys.principal_of(text)).id == parsed(text).id
