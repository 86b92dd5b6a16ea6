"""Which features tell of what: each event in the transaction of its fact, with ids and never with people."""

import json
from typing import Any

import httpx
from sqlalchemy import select

from mis_models.work import OutboxRow
from tests.answers import fine
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS

USERS = "/api/v1/users"
# The others tell of events of theirs in tests of theirs.
FEATURES = ("tenant", "config", "user")


async def told(suite: Suite, tenant: TenantHandle) -> list[tuple[str, dict[str, Any]]]:
    """Return what lies in the outbox of the tenant, its users and settings, in order, and empty it."""
    async with suite.database.transaction(tenant.id) as session:
        found = select(OutboxRow).where(OutboxRow.tenant_id == tenant.id)
        rows = (await session.scalars(found.order_by(OutboxRow.occurred_at))).all()
    async with suite.apps["tenant"].state.platform.system_transaction(tenant.id) as system:
        await system.fetch("delete from outbox where tenant_id = $1", tenant.id)
    return [(row.type, row.data) for row in rows if row.type.partition(".")[0] in FEATURES]


async def ask(suite: Suite, tenant: TenantHandle, method: str, path: str, **body: Any) -> httpx.Response:
    return await suite.client.request(method, path, headers=tenant.auth, json=body or None)


async def test_a_creation_tells_of_the_tenant_and_of_its_first_owner(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    assert await told(suite, tenant) == [
        ("user.created", {"id": str(tenant.owner.id), "role": "owner"}),
        ("tenant.created", {"slug": tenant.slug, "plan": "premium"}),
    ]


async def test_a_tenants_changes_tell_which_fields_and_keys_and_no_values(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    await told(suite, tenant)
    path = f"{TENANTS}/{tenant.id}"
    fine(await ask(suite, tenant, "PATCH", path, name="A new name", maxUsers=7))
    fine(await ask(suite, tenant, "PATCH", path, name="A new name"))
    fine(await ask(suite, tenant, "PATCH", path, features={"custom_branding": False}))
    assert await told(suite, tenant) == [
        ("tenant.updated", {"changed": ["maxUsers", "name"]}),
        ("config.changed", {"configKey": "features.custom_branding"}),
        ("tenant.updated", {"changed": ["features"]}),
    ]


async def test_a_suspension_and_a_reactivation_are_told(suite: Suite) -> None:
    tenant = await suite.tenant()
    await told(suite, tenant)
    for step, body in (("suspend", {"reason": "Unpaid."}), ("reactivate", {})):
        path = f"{TENANTS}/{tenant.id}/{step}"
        fine(await suite.client.post(path, json=body or None, headers=suite.operator))
    assert await told(suite, tenant) == [
        ("tenant.suspended", {"reason": "Unpaid."}),
        ("tenant.reactivated", {}),
    ]


async def test_configuration_tells_the_key_when_it_is_set_rolled_back_and_removed(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await told(suite, tenant)
    path = f"{TENANTS}/{tenant.id}/config"
    for value in ("first-value", "second-value"):
        fine(
            await ask(
                suite, tenant, "POST", path, configKey="app.secret", configValue=value, isEncrypted=True
            )
        )
    fine(await ask(suite, tenant, "POST", f"{path}/app.secret/rollback", version=1))
    fine(await ask(suite, tenant, "DELETE", f"{path}/app.secret"), 204)
    fine(await ask(suite, tenant, "POST", f"{path}/app.secret/rollback", version=4))
    events = await told(suite, tenant)
    assert events == [("config.changed", {"configKey": "app.secret"})] * 4


async def test_a_users_life_is_told_by_id_and_role_without_anything_of_the_person(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await told(suite, tenant)
    email = f"pia.person@{tenant.slug}.example"
    body = {"email": email, "name": "Pia Person", "role": "viewer", "attributes": {"phone": "555-0100"}}
    user_id = fine(await ask(suite, tenant, "POST", USERS, **body), 201)["id"]
    path = f"{USERS}/{user_id}"
    fine(await ask(suite, tenant, "PATCH", path, name="Pia Newname", role="member"))
    fine(await ask(suite, tenant, "PATCH", path, status="disabled"))
    fine(await ask(suite, tenant, "PATCH", path, status="active"))
    fine(await ask(suite, tenant, "PATCH", path, status="active"))
    fine(await ask(suite, tenant, "DELETE", path), 204)
    events = await told(suite, tenant)
    member = {"id": user_id, "role": "member"}
    assert events == [
        ("user.created", {"id": user_id, "role": "viewer"}),
        ("user.updated", member | {"changed": ["name", "role"]}),
        ("user.disabled", member),
        ("user.updated", member | {"changed": ["status"]}),
        ("user.deleted", member),
    ]
    for private in ("Pia", "person", "555"):
        assert private not in json.dumps(events)


async def test_users_who_change_themselves_are_told_of_too(suite: Suite) -> None:
    tenant = await suite.tenant()
    await told(suite, tenant)
    fine(await ask(suite, tenant, "PATCH", f"{USERS}/me", name="Olivia Other"))
    owner = {"id": str(tenant.owner.id), "role": "owner", "changed": ["name"]}
    assert await told(suite, tenant) == [("user.updated", owner)]


async def test_an_import_tells_of_each_user_that_it_made_and_of_no_other(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await told(suite, tenant)
    lines = [f"u{number}@{tenant.slug}.example,User {number},viewer" for number in range(300)]
    lines[7] = "no address,Nobody,viewer"
    content = "\n".join(["email,name,role", *lines]).encode()
    answer = await suite.client.post(
        f"{USERS}/import", content=content, headers=tenant.auth | {"Content-Type": "text/csv"}
    )
    made = {row["id"] for row in fine(answer)["rows"] if row["ok"]}
    events = await told(suite, tenant)
    assert {kind for kind, _ in events} == {"user.created"}
    assert len(events) == len(made) == 299
    assert {data["id"] for _, data in events} == made
    assert {data["role"] for _, data in events} == {"viewer"}


async def test_a_refused_change_tells_nothing(suite: Suite) -> None:
    tenant = await suite.tenant()
    await told(suite, tenant)
    owner = f"{USERS}/{tenant.owner.id}"
    assert (await ask(suite, tenant, "DELETE", owner)).status_code == 409
    taken = {"email": tenant.owner_email, "name": "Twice", "role": "viewer"}
    assert (await ask(suite, tenant, "POST", USERS, **taken)).status_code == 409
    config = {"configKey": "security.nonsense", "configValue": 1}
    assert (await ask(suite, tenant, "POST", f"{TENANTS}/{tenant.id}/config", **config)).status_code == 422
    assert await told(suite, tenant) == []
