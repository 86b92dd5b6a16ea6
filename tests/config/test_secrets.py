"""Encrypted values: never shown unasked, bound to their place, revealed only with right and trace."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from mis_tenancy.encryption import DataKey
from mis_tenancy.sealed_values import purpose_of
from mis_tenancy.tables import ConfigurationRow
from tests.answers import fine, refused
from tests.config.test_configuration import Config
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, act_as, fields

SECRET = {"apiKey": "canary-5f1e", "port": 5432}


async def stored(suite: Suite, tenant: TenantHandle, key: str) -> dict[str, Any]:
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        row = (
            await session.scalars(select(ConfigurationRow).where(ConfigurationRow.config_key == key))
        ).one()
    value: dict[str, Any] = row.config_value
    return value


async def replace(suite: Suite, tenant: TenantHandle, key: str, value: Any) -> None:
    """Put `value` into the row, behind the service's back."""
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        row = (
            await session.scalars(select(ConfigurationRow).where(ConfigurationRow.config_key == key))
        ).one()
        row.config_value = value


async def test_a_secret_reads_as_null_with_a_fingerprint_everywhere(suite: Suite) -> None:
    """Catalogue 134."""
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    answer = await config.put("vault.key", SECRET, encrypted=True)
    entry = fine(answer)
    assert (entry["configValue"], entry["override"], entry["isEncrypted"]) == (None, None, True)
    assert len(entry["fingerprint"]) == 32
    listed = await config.client.get(config.path, headers=config.headers)
    history = await config.history("vault.key")
    audit = await suite.client.get(f"{TENANTS}/{tenant.id}/audit-logs", headers=tenant.auth)
    database = await stored(suite, tenant, "vault.key")
    for shown in (answer.text, listed.text, history.text, audit.text, str(database)):
        assert "canary" not in shown
    assert set(database) == {"ciphertext", "keyVersion", "fingerprint"}
    assert database["keyVersion"] == 1
    assert fine(history)[0]["fingerprint"] == entry["fingerprint"]


async def test_the_fingerprint_tells_values_tenants_and_keys_apart(suite: Suite) -> None:
    one, other = Config(suite, await suite.tenant("custom")), Config(suite, await suite.tenant("custom"))

    async def fingerprint(config: Config, key: str, value: Any) -> str:
        found: str = fine(await config.put(key, value, encrypted=True))["fingerprint"]
        return found

    first = await fingerprint(one, "vault.a", "same")
    assert await fingerprint(one, "vault.a", "same") == first
    different = {
        await fingerprint(one, "vault.a", "else"),
        await fingerprint(one, "vault.b", "same"),
        await fingerprint(other, "vault.a", "same"),
    }
    assert len(different | {first}) == 4


async def test_the_owner_reveals_a_secret_and_leaves_a_trace(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    fine(await config.put("vault.key", SECRET, encrypted=True))
    revealed = fine(await config.get("vault.key", reveal=True))
    assert (revealed["configValue"], revealed["override"]) == (SECRET, SECRET)
    query = {"action": "config.revealed"}
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/audit-logs", params=query, headers=tenant.auth)
    (row,) = fine(answer)
    assert (row["actor"], row["resource"]) == (str(tenant.owner.id), "config/vault.key")


async def test_nobody_else_reveals_it(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    fine(await Config(suite, tenant).put("vault.key", SECRET, encrypted=True))
    admin = await suite.user(tenant, "admin")
    for headers in (admin.auth, await act_as(suite, tenant)):
        answer = await Config(suite, tenant, headers).get("vault.key", reveal=True)
        assert refused(answer, 403, "permission_denied")["required"] == "config:reveal"
    operator = Config(suite, tenant, suite.operator)
    refused(await operator.get("vault.key", reveal=True), 403, "act_as_required")
    assert fine(await operator.get("vault.key"))["configValue"] is None


async def test_what_every_service_reads_stays_readable(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("custom"))
    problem = refused(await config.put("session.timeout", 600, encrypted=True), 422, "config_invalid")
    assert fields(problem) == [("isEncrypted", "config_invalid")]


async def test_a_secret_moved_to_another_key_tenant_or_version_does_not_decrypt(suite: Suite) -> None:
    """Catalogue 132."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    config, foreign = Config(suite, tenant), Config(suite, other)
    for one in (config, foreign):
        for key in ("vault.a", "vault.b"):
            fine(await one.put(key, SECRET, encrypted=True))
    original = await stored(suite, tenant, "vault.a")
    await replace(suite, tenant, "vault.b", original)
    refused(await config.get("vault.b", reveal=True), 409, "config_undecryptable")
    await replace(suite, other, "vault.a", original)
    refused(await foreign.get("vault.a", reveal=True), 409, "config_undecryptable")
    await replace(suite, tenant, "vault.a", original | {"keyVersion": 2})
    refused(await config.get("vault.a", reveal=True), 409, "config_undecryptable")
    await replace(suite, tenant, "vault.a", original)
    assert fine(await config.get("vault.a", reveal=True))["configValue"] == SECRET


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        "text",
        {},
        {"ciphertext": "!", "keyVersion": 1},
        {"ciphertext": "", "keyVersion": 0},
        {"ciphertext": "AAAAAQ==", "keyVersion": 1},
        {"ciphertext": "AAAAAv" + "A" * 62, "keyVersion": 2},
        {"ciphertext": 7, "keyVersion": 1},
    ],
)
async def test_a_damaged_secret_is_a_conflict_and_can_be_set_anew(suite: Suite, damaged: Any) -> None:
    """Catalogue 132."""
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    fine(await config.put("vault.key", SECRET, encrypted=True))
    await replace(suite, tenant, "vault.key", damaged)
    refused(await config.get("vault.key", reveal=True), 409, "config_undecryptable")
    assert fine(await config.get("vault.key"))["configValue"] is None
    fine(await config.client.get(config.path, headers=config.headers))
    fine(await config.put("vault.key", "anew", encrypted=True))
    assert fine(await config.get("vault.key", reveal=True))["configValue"] == "anew"


async def test_a_flipped_bit_fails(suite: Suite) -> None:
    """Catalogue 132."""
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    fine(await config.put("vault.key", SECRET, encrypted=True))
    original = await stored(suite, tenant, "vault.key")
    text = original["ciphertext"]
    for place in range(0, len(text), 7):
        flipped = text[:place] + ("B" if text[place] != "B" else "C") + text[place + 1 :]
        await replace(suite, tenant, "vault.key", original | {"ciphertext": flipped})
        refused(await config.get("vault.key", reveal=True), 409, "config_undecryptable")


async def test_a_rollback_brings_a_secret_back_but_never_a_damaged_one(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    fine(await config.put("vault.key", "first", encrypted=True))
    fine(await config.put("vault.key", "second"))
    back = fine(await config.roll_back("vault.key", 1))
    assert (back["configValue"], back["isEncrypted"]) == (None, True)
    assert fine(await config.get("vault.key", reveal=True))["configValue"] == "first"


async def test_a_ciphertext_of_the_right_key_for_another_purpose_does_not_decrypt() -> None:
    """Catalogue 132."""
    key = DataKey(UUID(int=1), 1, bytes(32))
    assert key.decrypt(key.encrypt(b"x", purpose_of("a.b")), purpose_of("a.b")) == b"x"
    assert purpose_of("a.b") != purpose_of("a.c")
