"""A tenant's data keys: rotated while everything goes on, resumed after a kill, destroyed in the end."""

import asyncio
import base64
import json
import os
import random
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import LargeBinary, select

from mis_jobs.jobs import Job
from mis_models.tenants import IdempotencyRow
from mis_tenancy.encryption import TenantKeys, Undecryptable, Wrapping, key_version
from mis_tenancy.settings import MasterKeys
from mis_tenancy.tables import Base, ConfigurationRow, ConfigurationVersionRow, DataKeyRow
from mis_worker.app import working
from tenant_service.encryption_keys.jobs import REENCRYPTION, KeyJobs
from tenant_service.encryption_keys.reencryption import Reencryption
from tenant_service.encryption_keys.repository import HOLDERS
from tests.answers import fine, refused
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, audit_rows
from tests.tenant_service.seals import Log

# Bytes that are not under a tenant's data key, and why nothing is lost with an old one.
NOT_CIPHERTEXT = {
    "tenant_data_keys.wrapped_key": "the keys themselves, under a master key",
    "audit_actor_keys.wrapped_key": "keys themselves, under a master key",
    "audit_logs.origin": "under an actor's key, and never changed",
    "platform_idempotency_keys.answer": "an operator's, under the master key",
    "platform_idempotency_keys.fingerprint": "a digest",
    "refresh_tokens.token_hash": "a hash",
    "invitations.token_hash": "a hash",
    "account_tokens.token_hash": "a hash",
    "recovery_codes.code_hash": "a hash",
    "api_keys.key_hash": "a hash",
    "sso_attempts.browser_hash": "a hash",
    "sso_attempts.state_hash": "a hash",
    "plan_migrations.mark": "a digest",
    "challenges.token_hash": "a hash",
    "challenges.user_handle": "random, and told to authenticators",
    "passkeys.user_handle": "random, and told to authenticators",
    "passkeys.credential_id": "told to authenticators",
    "passkeys.public_key": "public",
    "idempotency_keys.fingerprint": "a hash",
    "audit_seals.marks": "digests",
    "audit_seals.link": "a digest",
    "audit_seals.hash": "an HMAC under a master key",
}


def reencryption(suite: Suite, grace: float = 0.0) -> Reencryption:
    tenancy = suite.tenancy("tenant")
    return Reencryption(tenancy.database, TenantKeys(tenancy.wrapping), grace=grace)


async def work_off(suite: Suite, tenant_id: UUID) -> None:
    """Do what the worker does with the tenant's rotation."""
    await KeyJobs(reencryption(suite)).reencrypt(Job(uuid4(), tenant_id, REENCRYPTION, {}, 1))
    async with suite.apps["tenant"].state.platform.system_transaction(tenant_id) as system:
        await system.fetch("delete from jobs where tenant_id = $1", tenant_id)


async def keys_of(suite: Suite, tenant: TenantHandle) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = fine(
        await suite.client.get(f"{TENANTS}/{tenant.id}/encryption-keys", headers=tenant.auth)
    )
    return rows


async def rotate(suite: Suite, tenant: TenantHandle, **headers: str) -> Any:
    path = f"{TENANTS}/{tenant.id}/encryption-keys/rotate"
    return await suite.client.post(path, headers=tenant.auth | headers)


async def put_secret(suite: Suite, tenant: TenantHandle, key: str, value: Any) -> None:
    body = {"configKey": key, "configValue": value, "isEncrypted": True}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=tenant.auth))


async def reveal(suite: Suite, tenant: TenantHandle, key: str) -> Any:
    path = f"{TENANTS}/{tenant.id}/config/{key}"
    answer = await suite.client.get(path, params={"reveal": "true"}, headers=tenant.auth)
    return fine(answer)["configValue"]


async def versions_in_use(suite: Suite, tenant_id: UUID) -> set[int]:
    """Return the key versions that any ciphertext of the tenant names."""
    found: set[int] = set()
    async with suite.tenancy("tenant").database.transaction(tenant_id) as session:
        for table in (ConfigurationRow, ConfigurationVersionRow):
            stored = select(table.config_value).where(table.is_encrypted)
            for value in await session.scalars(stored):
                assert key_version(base64.b64decode(value["ciphertext"])) == value["keyVersion"]
                found.add(value["keyVersion"])
        for answer in await session.scalars(select(IdempotencyRow.answer)):
            if answer is not None:
                found.add(key_version(answer))
    return found


def test_every_table_with_bytes_of_a_tenant_is_re_encrypted_or_known_to_need_no_key() -> None:
    held = {holder.table.__table__.name for holder in HOLDERS}  # type: ignore[attr-defined]  # each is mapped
    binary = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.c
        if "tenant_id" in table.c and isinstance(column.type, LargeBinary)
    }
    assert {name for name in binary - set(NOT_CIPHERTEXT) if name.partition(".")[0] not in held} == set()
    assert set(NOT_CIPHERTEXT) <= binary


async def test_a_rotation_brings_everything_under_the_new_key_and_destroys_the_old_one(suite: Suite) -> None:
    """Catalogue 133."""
    tenant = await suite.tenant("custom")
    for number in range(3):
        await put_secret(suite, tenant, "mail.password", f"hunter{number}")
    fine(await suite.client.delete(f"{TENANTS}/{tenant.id}/config/mail.password", headers=tenant.auth), 204)
    await put_secret(suite, tenant, "mail.password", {"user": "ö", "n": 1})
    answer = await rotate(suite, tenant)
    rotation = fine(answer, 202)
    assert (rotation["version"], rotation["status"]) == (2, "re_encrypting")
    assert answer.headers["location"] == f"{TENANTS}/{tenant.id}/encryption-keys"
    assert [(key["version"], key["state"]) for key in await keys_of(suite, tenant)] == [
        (2, "current"),
        (1, "retiring"),
    ]
    await put_secret(suite, tenant, "other.secret", "new")
    assert await versions_in_use(suite, tenant.id) == {1, 2}
    await work_off(suite, tenant.id)
    assert await versions_in_use(suite, tenant.id) == {2}
    assert await reveal(suite, tenant, "mail.password") == {"user": "ö", "n": 1}
    new, old = await keys_of(suite, tenant)
    assert (new["state"], old["state"]) == ("current", "retired")
    assert (new["masterKeyId"], old["masterKeyId"]) == ("test", None)
    assert old["retiredAt"] is not None
    assert new["retiredAt"] is None
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        row = await session.scalar(select(DataKeyRow).where(DataKeyRow.version == 1))
        assert row is not None
        assert row.wrapped_key == b""
        with pytest.raises(Undecryptable):
            await TenantKeys(suite.tenancy("tenant").wrapping).of(session, 1)
    trail = [row["action"] for row in await audit_rows(suite, tenant.id)]
    assert trail.count("keys.rotated") == trail.count("keys.retired") == 1


async def test_earlier_versions_of_a_secret_can_be_rolled_back_to_after_a_rotation(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for value in ("first", "second"):
        await put_secret(suite, tenant, "mail.password", value)
    fine(await rotate(suite, tenant), 202)
    await work_off(suite, tenant.id)
    path = f"{TENANTS}/{tenant.id}/config/mail.password/rollback"
    fine(await suite.client.post(path, json={"version": 1}, headers=tenant.auth))
    assert await reveal(suite, tenant, "mail.password") == "first"


async def test_the_worker_finishes_a_rotation_and_seals_what_was_done(
    suite: Suite, test_servers: TestServers
) -> None:
    tenant = await suite.tenant("custom")
    await put_secret(suite, tenant, "mail.password", "x")
    fine(await rotate(suite, tenant), 202)
    async with working(suite.settings), asyncio.timeout(60):
        while [key["state"] for key in await keys_of(suite, tenant)] != ["current", "retired"]:  # noqa: ASYNC110  # another service's work
            await asyncio.sleep(0.2)
        log = Log(suite, test_servers, tenant.id)
        while not await log.seals():  # noqa: ASYNC110  # likewise
            await asyncio.sleep(0.2)
    assert await versions_in_use(suite, tenant.id) == {2}
    assert (await log.verify()).bad is None


async def test_a_second_rotation_waits_for_the_first(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    fine(await rotate(suite, tenant), 202)
    refused(await rotate(suite, tenant), 409, "key_rotation_in_progress")
    await work_off(suite, tenant.id)
    assert fine(await rotate(suite, tenant), 202)["version"] == 3


async def test_a_rotation_whose_job_gave_up_is_taken_up_without_another_key(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    fine(await rotate(suite, tenant), 202)
    async with suite.apps["tenant"].state.platform.system_transaction(tenant.id) as system:
        await system.fetch("update jobs set state = 'dead' where tenant_id = $1", tenant.id)
    assert fine(await rotate(suite, tenant), 202)["version"] == 2
    assert len(await keys_of(suite, tenant)) == 2


async def test_kept_answers_replay_after_a_rotation_and_rotation_itself_is_idempotent(suite: Suite) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant("custom")
    first, again = [await rotate(suite, tenant, **{"Idempotency-Key": "once"}) for _ in range(2)]
    assert fine(first, 202) == fine(again, 202)
    assert again.headers["idempotent-replayed"] == "true"
    body = {"configKey": "a.b", "configValue": 1, "isEncrypted": True}
    path, headers = f"{TENANTS}/{tenant.id}/config", tenant.auth | {"Idempotency-Key": "put"}
    kept = fine(await suite.client.post(path, json=body, headers=headers))
    await work_off(suite, tenant.id)
    fine(await rotate(suite, tenant), 202)
    await work_off(suite, tenant.id)
    assert await versions_in_use(suite, tenant.id) == {3}
    replayed = await suite.client.post(path, json=body, headers=headers)
    assert (fine(replayed), replayed.headers["idempotent-replayed"]) == (kept, "true")


async def test_reads_and_writes_go_on_while_keys_rotate(suite: Suite) -> None:
    """Catalogue 133: no request fails, and every secret is what was last written."""
    tenant = await suite.tenant("custom")
    written: dict[str, int] = {}
    done = asyncio.Event()

    async def use(key: str) -> None:
        number = 0
        while not done.is_set():
            number += 1
            await put_secret(suite, tenant, key, number)
            written[key] = number
            assert await reveal(suite, tenant, key) == number

    users = [asyncio.create_task(use(f"load.secret-{name}")) for name in "abcd"]
    try:
        for version in range(2, 6):
            assert fine(await rotate(suite, tenant), 202)["version"] == version
            await work_off(suite, tenant.id)
    finally:
        done.set()
    await asyncio.gather(*users)
    for key, number in written.items():
        assert await reveal(suite, tenant, key) == number
    assert await versions_in_use(suite, tenant.id) <= {4, 5}


async def test_a_key_is_not_destroyed_under_a_transaction_that_is_about_to_commit_with_it(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("custom")
    tenancy = suite.tenancy("tenant")
    async with tenancy.database.transaction(tenant.id) as slow:
        key = await TenantKeys(tenancy.wrapping).current(slow)
        async with tenancy.database.transaction(tenant.id) as session:
            session.add(tenancy.wrapping.new_data_key(tenant.id, 2))
        finishing = asyncio.create_task(reencryption(suite).finish(tenant.id))
        done, _ = await asyncio.wait([finishing], timeout=0.5)
        assert not done
        ciphertext = base64.b64encode(key.encrypt(b'"late"', "config:late.secret")).decode()
        for table in (ConfigurationRow, ConfigurationVersionRow):
            row = table(
                config_key="late.secret",
                config_value={"ciphertext": ciphertext, "keyVersion": 1, "fingerprint": "0"},
                is_encrypted=True,
                version=1,
                created_at=tenant_moment(tenant),
            )
            if isinstance(row, ConfigurationRow):
                row.id, row.updated_at = uuid4(), row.created_at
            slow.add(row)
    await finishing
    assert await versions_in_use(suite, tenant.id) == {2}
    assert await reveal(suite, tenant, "late.secret") == "late"


def tenant_moment(tenant: TenantHandle) -> datetime:
    return datetime.fromisoformat(tenant.document["createdAt"])


async def test_a_damaged_secret_holds_no_rotation_up(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for key in ("mail.good", "mail.bad", "mail.worse", "mail.worst"):
        await put_secret(suite, tenant, key, "x")
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        stored = {row.config_key: row for row in await session.scalars(select(ConfigurationRow))}
        bad = stored["mail.good"].config_value
        stored["mail.bad"].config_value = dict(bad)
        stored["mail.worse"].config_value = {"ciphertext": "?", "keyVersion": "many"}
        stored["mail.worst"].config_value = 7
    fine(await rotate(suite, tenant), 202)
    await work_off(suite, tenant.id)
    assert await reveal(suite, tenant, "mail.good") == "x"
    for key in ("mail.bad", "mail.worse", "mail.worst"):
        path = f"{TENANTS}/{tenant.id}/config/{key}"
        answer = await suite.client.get(path, params={"reveal": "true"}, headers=tenant.auth)
        refused(answer, 409, "config_undecryptable")
    assert [key["state"] for key in await keys_of(suite, tenant)] == ["current", "retired"]


async def test_a_re_encryption_that_is_killed_anywhere_is_finished_by_the_next(
    suite: Suite, test_servers: TestServers
) -> None:
    """Catalogue 118, 133."""
    tenant = await suite.tenant("custom")
    tenancy = suite.tenancy("tenant")
    keys = TenantKeys(tenancy.wrapping)
    async with tenancy.database.transaction(tenant.id) as session:
        current = await keys.current(session)
        for number in range(1500):
            name = f"many.secret-{number}"
            sealed = base64.b64encode(current.encrypt(str(number).encode(), f"config:{name}")).decode()
            value = {"ciphertext": sealed, "keyVersion": 1, "fingerprint": "0"}
            session.add(
                ConfigurationVersionRow(
                    config_key=name,
                    version=1,
                    config_value=value,
                    is_encrypted=True,
                    created_at=tenant_moment(tenant),
                )
            )
    fine(await rotate(suite, tenant), 202)
    dice = random.Random(7)  # dice
    left = 1500
    for _ in range(5):
        await asyncio.to_thread(kill_somewhere, suite, test_servers, tenant.id, dice.random() * 0.12)
        async with tenancy.database.transaction(tenant.id) as session:
            rows = (await session.scalars(select(ConfigurationVersionRow))).all()
            for row in rows:
                plain = await keys.decrypt(
                    session, base64.b64decode(secret_of(row)["ciphertext"]), f"config:{row.config_key}"
                )
                assert plain.decode() == row.config_key.removeprefix("many.secret-")
            older = sum(secret_of(row)["keyVersion"] == 1 for row in rows)
        assert older <= left
        left = older
    await work_off(suite, tenant.id)
    assert await versions_in_use(suite, tenant.id) == {2}


def secret_of(row: ConfigurationVersionRow) -> dict[str, Any]:
    assert isinstance(row.config_value, dict)
    return row.config_value


def kill_somewhere(suite: Suite, servers: TestServers, tenant_id: UUID, after: float) -> None:
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and program
        [
            sys.executable,
            str(Path(__file__).with_name("reencryption_child.py")),
            servers.database().app,
            str(tenant_id),
            suite.settings.master_keys,
        ],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child, child.stdout as output:
        assert output.readline() == b"started\n"
        try:
            child.wait(after)
        except subprocess.TimeoutExpired:
            child.kill()


async def test_only_owners_and_operators_reach_the_keys_and_no_answer_holds_one(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    admin = await suite.user(tenant, "admin")
    path = f"{TENANTS}/{tenant.id}/encryption-keys"
    refused(await suite.client.get(path, headers=admin.auth), 403, "permission_denied")
    refused(await suite.client.post(f"{path}/rotate", headers=admin.auth), 403, "permission_denied")
    refused(await suite.client.post(f"{path}/rotate", headers=other.auth), 404, "tenant_not_found")
    fine(await suite.client.post(f"{path}/rotate", headers=suite.operator), 202)
    (_, row) = fine(await suite.client.get(path, headers=suite.operator))
    assert set(row) == {"version", "state", "masterKeyId", "createdAt", "retiredAt"}
    page = await suite.client.get(path, params={"limit": 1, "order": "asc"}, headers=tenant.auth)
    assert [key["version"] for key in fine(page)] == [1]
    rest = await suite.client.get(page.links["next"]["url"], headers=tenant.auth)
    assert [key["version"] for key in fine(rest)] == [2]


async def test_nonces_do_not_repeat_and_a_ciphertext_opens_only_in_its_place(suite: Suite) -> None:
    """Catalogue 132."""
    wrapping = Wrapping(MasterKeys.parse(f"k:{base64.b64encode(os.urandom(32)).decode()}"))
    own, other = (wrapping.open_data_key(wrapping.new_data_key(uuid4(), 1)) for _ in range(2))
    sealed = own.encrypt(b"secret", "config:a")
    for key, ciphertext, purpose in (
        (other, sealed, "config:a"),
        (own, sealed, "config:b"),
        (own, sealed[:-1] + bytes([sealed[-1] ^ 1]), "config:a"),
        (own, sealed[:4] + bytes([sealed[4] ^ 1]) + sealed[5:], "config:a"),
        (own, b"\0\0\0\2" + sealed[4:], "config:a"),
        (own, sealed[:3], "config:a"),
        (own, b"", "config:a"),
    ):
        with pytest.raises(Undecryptable):
            key.decrypt(ciphertext, purpose)
    nonces = {own.encrypt(b"", "p")[4:16] for _ in range(100_000)}
    assert len(nonces) == 100_000
    assert "secret" not in json.dumps(repr(own))
