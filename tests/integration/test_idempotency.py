"""`Idempotency-Key` over the real stack: one effect, one answer, whoever repeats, dies or interferes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import update

from mis_http.kept_answers import LEASE
from mis_models.tenants import IdempotencyRow
from tests.answers import fine, refused
from tests.integration.rig import TENANTS, USERS, Behind, behind
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle

TWO_LEASES = 2 * LEASE


@pytest.fixture
async def facts(test_servers: TestServers) -> AsyncIterator[Behind]:
    async with behind(test_servers) as found:
        yield found


def keyed(headers: dict[str, str], key: str) -> dict[str, str]:
    return headers | {"Idempotency-Key": key}


def new_user(tenant: TenantHandle, name: str = "ida") -> dict[str, Any]:
    return {"email": f"{name}@{tenant.slug}.example", "name": "Ida Idem"}


async def create(suite: Suite, tenant: TenantHandle, key: str, body: Any = None) -> httpx.Response:
    sent = new_user(tenant) if body is None else body
    return await suite.client.post(USERS, json=sent, headers=keyed(tenant.auth, key))


async def run_out(suite: Suite, tenant: TenantHandle, key: str) -> None:
    """Let the lease of the key have run out."""
    past = datetime.now(UTC) - TWO_LEASES
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(
            update(IdempotencyRow).where(IdempotencyRow.key == key).values(leased_until=past)
        )


async def until_answered(suite: Suite, tenant: TenantHandle, key: str, **options: Any) -> httpx.Response:
    while True:
        answer = await create(suite, tenant, key, **options)
        if answer.status_code != 409:
            return answer
        refused(answer, 409, "idempotency_in_progress")
        assert int(answer.headers["retry-after"]) >= 1
        await asyncio.sleep(0.02)


async def test_fifty_equal_requests_at_once_have_one_effect_and_one_answer(
    suite: Suite, facts: Behind
) -> None:
    """Catalogue 137."""
    tenant, key = await suite.tenant("custom"), uuid4().hex
    answers = await asyncio.gather(*(until_answered(suite, tenant, key) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({(answer.headers["location"], answer.headers["etag"]) for answer in answers}) == 1
    replayed = Counter(answer.headers.get("idempotent-replayed") for answer in answers)
    assert replayed == {None: 1, "true": 49}
    assert await facts.value("select count(*) from users where tenant_id = $1", tenant.id) == 2
    assert await facts.value("select users from tenant_counters where tenant_id = $1", tenant.id) == 2


async def test_another_body_under_the_key_is_refused(suite: Suite) -> None:
    """Catalogue 137."""
    tenant, key = await suite.tenant("custom"), uuid4().hex
    fine(await create(suite, tenant, key), 201)
    refused(await create(suite, tenant, key, new_user(tenant, "other")), 422, "idempotency_key_reused")
    fine(await create(suite, tenant, uuid4().hex, new_user(tenant, "other")), 201)


async def test_a_refusal_is_kept_as_well_and_changes_no_more(suite: Suite) -> None:
    tenant, key = await suite.tenant("custom"), uuid4().hex
    body = new_user(tenant) | {"email": tenant.owner_email}
    first = refused(await create(suite, tenant, key, body), 409, "email_taken")
    again = await create(suite, tenant, key, body)
    assert again.json() == first
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == "application/problem+json"


async def test_the_key_of_one_tenant_or_caller_is_not_anothers(suite: Suite) -> None:
    """Catalogue 137."""
    one, other = await suite.tenant("custom"), await suite.tenant("custom")
    key, admin = uuid4().hex, await suite.user(one, "admin")
    body = {"email": "same@shared.example", "name": "Sam Same"}
    answers = [await create(suite, tenant, key, body) for tenant in (one, other)]
    assert len({fine(answer, 201)["id"] for answer in answers}) == 2
    refused(await suite.client.post(USERS, json=body, headers=keyed(admin.auth, key)), 409, "email_taken")


async def test_an_operators_keys_and_a_tenants_are_independent(suite: Suite, facts: Behind) -> None:
    """Catalogue 137."""
    tenant, key = await suite.tenant("custom"), uuid4().hex
    body = {"name": "Once", "slug": f"once-{key[:8]}"}
    path = f"{TENANTS}/create"
    answers = []
    for _ in range(3):
        answers.append(await suite.client.post(path, json=body, headers=keyed(suite.operator, key)))
    assert len({fine(answer, 201)["id"] for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true", "true"]
    setting = {"configKey": "app.once", "configValue": 1}
    own = f"{TENANTS}/{tenant.id}/config"
    for headers in (suite.operator, tenant.auth):
        first, again = [
            await suite.client.post(own, json=setting, headers=keyed(headers, key)) for _ in range(2)
        ]
        assert fine(first) == fine(again)
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
    assert await facts.value("select count(*) from tenants where slug = $1", body["slug"]) == 1


async def test_a_key_whose_holder_was_killed_is_free_when_its_lease_has_run_out(suite: Suite) -> None:
    """Catalogue 137."""
    tenant, held = await suite.tenant("custom"), uuid4().hex
    fine(await create(suite, tenant, held, new_user(tenant, "held")), 201)
    # What a killed holder leaves behind: a key that is leased, and no effect.
    mine = (IdempotencyRow.key == held,)
    async with suite.database.transaction(tenant.id) as session:
        running = update(IdempotencyRow).where(*mine).values(state="running", answer=None, answer_status=None)
        await session.execute(running)
    refused(await create(suite, tenant, held, new_user(tenant, "held")), 409, "idempotency_in_progress")
    await run_out(suite, tenant, held)
    answer = await create(suite, tenant, held, new_user(tenant, "held"))
    refused(answer, 409, "email_taken")
    assert "idempotent-replayed" not in answer.headers


async def test_of_those_who_wait_for_a_dead_holders_key_one_gets_it(suite: Suite, facts: Behind) -> None:
    tenant, key = await suite.tenant("custom"), uuid4().hex
    fine(await create(suite, tenant, key, new_user(tenant, "gone")), 201)
    async with suite.database.transaction(tenant.id) as session:
        dead = {"state": "running", "answer": None, "answer_status": None}
        await session.execute(update(IdempotencyRow).where(IdempotencyRow.key == key).values(dead))
    await run_out(suite, tenant, key)
    await facts.connection.execute(
        "delete from users where tenant_id = $1 and email_norm = $2", tenant.id, f"gone@{tenant.slug}.example"
    )
    again = (until_answered(suite, tenant, key, body=new_user(tenant, "gone")) for _ in range(20))
    answers = await asyncio.gather(*again)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1


async def test_a_cancelled_request_frees_its_key_or_keeps_its_answer(suite: Suite, facts: Behind) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant("custom")
    for step in range(12):
        key, body = uuid4().hex, new_user(tenant, f"cut-{step}")
        task = asyncio.ensure_future(create(suite, tenant, key, body))
        await asyncio.sleep(step * 0.0015)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if (await create(suite, tenant, key, body)).status_code == 409:
            # It was cut off between lease and commit; nobody works on it, and its lease runs out.
            await run_out(suite, tenant, key)
        async with asyncio.timeout(10):
            fine(await until_answered(suite, tenant, key, body=body), 201)
    assert await facts.value("select count(*) from users where tenant_id = $1", tenant.id) == 13
    assert await facts.value("select users from tenant_counters where tenant_id = $1", tenant.id) == 13


async def test_what_is_kept_is_ciphertext(suite: Suite, facts: Behind) -> None:
    tenant, key = await suite.tenant("custom"), uuid4().hex
    fine(await create(suite, tenant, key), 201)
    (row,) = await facts.rows(
        "select * from idempotency_keys where tenant_id = $1 and key = $2", tenant.id, key
    )
    assert b"ida@" not in row["answer"]
    assert row["state"] == "answered"


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "é"])
async def test_a_key_that_is_none_is_refused(suite: Suite, key: str) -> None:
    tenant = await suite.tenant("custom")
    headers = [*tenant.auth.items(), ("Idempotency-Key", key.encode("latin-1").decode("latin-1"))]
    answer = await suite.client.post(
        USERS, json=new_user(tenant), headers=httpx.Headers(headers, encoding="latin-1")
    )
    assert refused(answer, 422, "validation_failed")["errors"][0]["field"] == "Idempotency-Key"


async def test_a_kept_answer_is_not_for_whoever_has_lost_the_permission(suite: Suite) -> None:
    tenant = await suite.tenant()
    admin = await suite.user(tenant, "admin")
    body = new_user(tenant)
    first = await suite.client.post(USERS, json=body, headers=keyed(admin.auth, "lost"))
    assert fine(first, 201)
    role = f"{USERS}/{admin.id}"
    fine(await suite.client.patch(role, json={"role": "member"}, headers=tenant.auth))
    lowered = await suite.sign_in(tenant.slug, admin.email, admin.password)
    denied = await suite.client.post(USERS, json=body, headers=keyed(lowered.auth, "lost"))
    assert refused(denied, 403, "permission_denied")["required"] == "users:write"
    fine(await suite.client.patch(role, json={"role": "admin"}, headers=tenant.auth))
    again = await suite.sign_in(tenant.slug, admin.email, admin.password)
    replayed = await suite.client.post(USERS, json=body, headers=keyed(again.auth, "lost"))
    assert (replayed.status_code, replayed.headers["idempotent-replayed"]) == (201, "true")
    assert replayed.json() == first.json()
