"""Erasing a person: nothing that says who they were is left, and nobody else loses anything."""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis
from sqlalchemy import func, select

from mis_models.accounts import CountersRow, UserRow
from mis_models.work import JobRow, OutboxRow
from mis_tenancy.tables import Base
from tests.auth_service.programs import add_api_key, ask
from tests.database import connected
from tests.servers import TestServers
from tests.suite import PASSWORD, Suite, TenantHandle
from tests.tenant_service.exports import ask_for, finished
from tests.tenant_service.imports import archive_of, send, user_row
from tests.tenant_service.seals import Log
from tests.tenant_service.test_audit_origins import drained
from tests.user_service.media import held, stored
from tests.user_service.requests import USERS, changes_audited, code, counted, create
from user_service.erasure.traces import TRACES

TEXTS = """
select table_name, column_name, data_type
  from information_schema.columns join information_schema.tables using (table_schema, table_name)
 where table_schema = 'public' and table_type = 'BASE TABLE'
   and data_type in ('text', 'jsonb', 'json', 'bytea', 'ARRAY')
"""


async def erase(suite: Suite, tenant: TenantHandle, user_id: Any, **auth: Any) -> httpx.Response:
    return await suite.client.post(f"{USERS}/{user_id}/erase", headers=auth.get("auth", tenant.auth))


async def places_of(servers: TestServers, *canaries: str) -> list[str]:
    """Return each column of the whole database in which one of the canaries stands, in any case."""
    found = []
    async with connected(servers.database().owner) as owner:
        for table, column, kind in await owner.fetch(TEXTS):
            text = f"encode(\"{column}\", 'escape')" if kind == "bytea" else f'"{column}"::text'
            for canary in canaries:
                there = f'select exists (select 1 from "{table}" where {text} ilike $1)'  # noqa: S608
                if await owner.fetchval(there, f"%{canary}%"):
                    found.append(f"{table}.{column}: {canary}")
    return found


def places_beside(suite: Suite, *canaries: str) -> list[str]:
    """Return each file of the spool and each key of Redis that holds one of the canaries."""
    marks = [canary.encode() for canary in canaries]
    texts = {str(path): path.read_bytes() for path in suite.settings.spool_dir.rglob("*") if path.is_file()}
    with redis.Redis.from_url(str(suite.settings.redis_url)) as client:
        for key in client.scan_iter():
            texts[str(key)] = key + (client.dump(key) or b"")
    return [place for place, text in texts.items() if any(mark in text for mark in marks)]


async def test_nothing_that_says_who_they_were_is_left(suite: Suite, test_servers: TestServers) -> None:
    mark = uuid4().hex[:8]
    canaries = (f"canary{mark}", f"Zebulonia{mark}", f"moved{mark}", f"secret-team-{mark}")
    tenant = await suite.tenant("custom")
    person = await suite.user(
        tenant,
        "admin",
        email=f"canary{mark}@gone.example",
        name=f"Zebulonia{mark} Quill",
        attributes={"team": f"secret-team-{mark}"},
    )
    keyed = {"email": f"other-canary{mark}@gone.example", "name": f"Zebulonia{mark} Other"}
    other = await suite.client.post(
        USERS, json=keyed, headers=tenant.auth | {"Idempotency-Key": str(uuid4())}
    )
    await suite.client.patch(f"{USERS}/me", json={"email": f"moved{mark}@gone.example"}, headers=person.auth)
    await suite.post_anonymously(
        "/api/v1/auth/password/forgot", {"email": person.email, "tenantSlug": tenant.slug}
    )
    wrong = {"email": person.email, "password": "wrong", "tenantSlug": tenant.slug}
    await suite.post_anonymously("/api/v1/auth/login", wrong)
    await stored(suite, tenant, filename=f"passport-{canaries[1]}.txt", auth=person.auth)
    assert (await suite.client.get(USERS, params={"q": canaries[0]}, headers=tenant.auth)).json()
    await drained(suite)
    log = Log(suite, test_servers, tenant.id)
    await log.seal()
    before = {place.partition(".")[0] for place in await places_of(test_servers, *canaries)}
    assert before >= {"users", "user_terms", "account_tokens", "media"}

    for user_id in (person.id, other.json()["id"]):
        answer = await erase(suite, tenant, user_id)
        assert answer.status_code == 200, answer.text
    assert await places_of(test_servers, *canaries) == []
    assert places_beside(suite, *canaries) == []
    assert places_beside(suite, str(tenant.id))
    await drained(suite)
    await log.seal()
    assert (await log.verify()).bad is None
    kept = [row for row in await changes_audited(suite, tenant) if row.resource == f"user:{person.id}"]
    assert kept[-1].action == "user.erased"
    assert code(await suite.client.get(f"{USERS}/{person.id}", headers=tenant.auth)) == (
        404,
        "user_not_found",
    )
    assert code(await suite.client.get(USERS, headers=person.auth)) == (401, "token_revoked")


async def test_the_report_counts_what_went(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    person = await suite.user(tenant, "admin")
    await suite.sign_in(tenant.slug, person.email, PASSWORD)
    await stored(suite, tenant, b"12345", auth=person.auth)
    await add_api_key(suite, tenant)
    body = {"email": f"new-{person.email}"}
    await suite.client.patch(f"{USERS}/me", json=body, headers=person.auth)
    headers = person.auth | {"Idempotency-Key": "k"}
    await suite.client.post(USERS, json={"email": "b@x.example", "name": "Bob"}, headers=headers)
    await drained(suite)
    report = (await erase(suite, tenant, person.id)).json()
    removed = report["removed"]
    assert removed.pop("auditOrigins") > 0
    # Two letters tell of the change of address.
    assert {kind: count for kind, count in removed.items() if count} == {
        "users": 1,
        "sessions": 2,
        "searchTerms": 3,
        "accountLinks": 1,
        "media": 1,
        "mails": 2,
        "keptAnswers": 1,
    }
    assert (report["userId"], report["remains"]) == (str(person.id), [])
    async with suite.database.transaction(tenant.id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
        discards = await session.scalar(select(func.count()).where(JobRow.kind == "media.discard"))
        told = list(await session.scalars(select(OutboxRow.data).where(OutboxRow.type == "user.deleted")))
    assert (counters.storage_bytes, counters.files, discards) == (0, 0, 1)
    assert told == [{"id": str(person.id), "role": "admin"}]
    assert await counted(suite, tenant) == (2, 2)


async def test_what_may_still_hold_the_person_is_named_with_its_end(suite: Suite) -> None:
    """Catalogue 117."""
    tenant = await suite.tenant("custom")
    user = await create(suite, tenant, "ada@x.example")
    held_by = [await finished(suite, tenant, kind, "usage") for kind in ("users", "audit_logs")]
    await finished(suite, tenant, "usage")
    # One that is being written may have seen the person; an archive that is brought back may hold them.
    unfinished = (await ask_for(suite, tenant, "users")).json()["exportId"]
    archive = archive_of(tenant, users=[user_row("ada@x.example")])
    coming = (await send(suite, tenant, archive)).json()["importId"]
    remains = (await erase(suite, tenant, user["id"])).json()["remains"]
    expected = [{"kind": "export", "id": one["exportId"], "until": one["expiresAt"]} for one in held_by]
    expected += [{"kind": "export", "id": unfinished, "until": None}]
    assert remains[:-1] == expected
    assert remains[-1] == {"kind": "import", "id": coming, "until": None}


async def test_an_erasure_repeated_finds_nothing_more(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await create(suite, tenant, "ada@x.example")
    await erase(suite, tenant, user["id"])
    again = await erase(suite, tenant, user["id"])
    assert again.status_code == 200
    assert not any(again.json()["removed"].values())
    assert await counted(suite, tenant) == (1, 1)


async def test_who_was_deleted_before_can_still_be_erased_from_the_log(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    person, admin = await suite.user(tenant, "member"), await suite.user(tenant, "admin")
    await stored(suite, tenant, auth=person.auth)
    await stored(suite, tenant)
    await drained(suite)
    await suite.client.delete(f"{USERS}/{person.id}", headers=tenant.auth)
    refused = await erase(suite, tenant, person.id, auth=admin.auth)
    assert code(refused) == (403, "permission_denied")
    report = (await erase(suite, tenant, person.id)).json()
    assert report["removed"]["auditOrigins"] > 0
    assert report["removed"]["media"] == 1
    assert (await held(suite, tenant)).files == 1
    assert code(await erase(suite, tenant, uuid4())) == (404, "user_not_found")
    assert code(await erase(suite, tenant, "not-an-id")) == (404, "user_not_found")


@pytest.mark.parametrize("is_deleted_first", [False, True])
async def test_where_a_persons_programs_asked_from_is_erased_too(
    suite: Suite, is_deleted_first: bool
) -> None:
    tenant = await suite.tenant("custom")
    person = await suite.user(tenant, "admin")
    made = await add_api_key(suite, tenant, by=person)
    other = await add_api_key(suite, tenant)
    for key in (made, other):
        assert (await ask(suite, key["key"])).status_code == 200
    await drained(suite)
    if is_deleted_first:
        await suite.client.delete(f"{USERS}/{person.id}", headers=tenant.auth)
    assert (await erase(suite, tenant, person.id)).status_code == 200
    path = f"/api/v1/tenants/{tenant.id}/audit-logs"
    for key, is_known in ((made, False), (other, True)):
        rows = (await suite.client.get(path, params={"actor": key["id"]}, headers=tenant.auth)).json()
        assert rows
        assert all((row["ip"] is not None) is is_known for row in rows)


async def test_a_foreign_or_visiting_person_cannot_be_erased(suite: Suite) -> None:
    """Catalogue 93."""
    ours, theirs = await suite.tenant("custom"), await suite.tenant("custom")
    foreign = await create(suite, theirs, "ada@x.example")
    for user_id in (foreign["id"], theirs.owner.id):
        assert code(await erase(suite, ours, user_id)) == (404, "user_not_found")
    assert (await suite.client.get(f"{USERS}/{foreign['id']}", headers=theirs.auth)).json() == foreign
    body = {"tenantId": str(ours.id), "reason": "Ticket 4711"}
    visit = await suite.client.post("/api/v1/auth/act-as", json=body, headers=suite.operator)
    acting = {"Authorization": f"Bearer {visit.json()['token']}"}
    await suite.client.get(USERS, headers=acting)
    await drained(suite)
    operator = (await suite.client.get("/api/v1/auth/me", headers=suite.operator)).json()["user"]["id"]
    assert code(await erase(suite, ours, operator)) == (404, "user_not_found")


@pytest.mark.parametrize("role", ["owner", "admin", "member", "viewer"])
async def test_nobody_erases_above_their_own_role(suite: Suite, role: str) -> None:
    """Catalogue 93."""
    tenant = await suite.tenant("custom")
    by = await suite.user(tenant, role)
    for target, allowed in (("owner", role == "owner"), ("admin", role in ("owner", "admin"))):
        victim = await create(suite, tenant, f"{target}@x.example", role=target)
        answer = await erase(suite, tenant, victim["id"], auth=by.auth)
        assert answer.is_success is allowed, answer.text
        assert allowed or code(answer) == (403, "permission_denied")


async def test_of_owners_who_are_erased_all_at_once_one_stays(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    owners = [tenant.owner, *[await suite.user(tenant, "owner") for _ in range(3)]]
    answers = await asyncio.gather(*(erase(suite, tenant, one.id, auth=one.auth) for one in owners))
    refused = [answer for answer in answers if not answer.is_success]
    assert Counter(code(answer) for answer in refused) == {(409, "last_owner"): 1}
    async with suite.database.transaction(tenant.id) as session:
        assert len((await session.scalars(select(UserRow.id))).all()) == 1
    assert await counted(suite, tenant) == (1, 1)


async def test_a_pending_invitation_of_the_address_goes_with_its_seat(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await create(suite, tenant, "old@x.example")
    body = {"email": "new@x.example", "role": "member"}
    await suite.client.post("/api/v1/auth/invitations", json=body, headers=tenant.auth)
    await suite.client.patch(f"{USERS}/{user['id']}", json={"email": "new@x.example"}, headers=tenant.auth)
    report = (await erase(suite, tenant, user["id"])).json()
    assert report["removed"]["invitations"] == 1
    async with suite.database.transaction(tenant.id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
    assert (counters.users, counters.pending_invitations) == (1, 0)


def test_every_table_that_refers_to_users_is_a_trace_or_is_seen_to() -> None:
    referring = {
        table.name
        for table in Base.metadata.tables.values()
        for key in table.foreign_key_constraints
        if key.referred_table.name == "users"
    }
    # Files go with their objects, which takes more than a row.
    assert referring == {one.column.class_.__tablename__ for one in TRACES} | {"media"}
