"""Reading, listing and changing tenants, as members within bounds and as operators."""

import itertools
from typing import Any

import pytest

from mis_tenancy.identifiers import new_id
from tests.answers import fine, refused
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, act_as, audit_rows, create, fields, new_slug, patch


async def test_a_member_reads_the_own_tenant_by_id_and_by_slug(suite: Suite) -> None:
    tenant = await suite.tenant("custom", settings={"theme": "dark"})
    viewer = await suite.user(tenant, "viewer")
    for named in (str(tenant.id), tenant.slug, str(tenant.id).upper(), tenant.slug.upper()):
        answer = await suite.client.get(f"{TENANTS}/{named}", headers=viewer.auth)
        assert fine(answer) == tenant.document
        assert answer.headers["etag"] == '"1"'


async def test_a_slug_spelled_with_a_letter_that_only_looks_like_its_own_names_nobody(suite: Suite) -> None:
    """The Kelvin sign is `k` in lower case, and a header that repeats it cannot be sent."""
    tenant = await suite.tenant("custom", slug=f"k{new_slug()}")
    for path in ("", "/config?limit=1", "/audit-logs?limit=1"):
        lookalike = f"{TENANTS}/%E2%84%AA{tenant.slug[1:]}{path}"
        refused(await suite.client.get(lookalike, headers=tenant.auth), 404, "tenant_not_found")


async def test_another_tenant_is_not_found_however_it_is_named(suite: Suite) -> None:
    """Catalogue 93."""
    own, other = await suite.tenant("custom"), await suite.tenant("custom")
    named = [str(other.id), other.slug, str(new_id()), "nobody-here", "%2e%2e", "a" * 64, "x"]
    paths = ["", "/config", "/config/session.timeout", "/config/session.timeout/history", "/audit-logs"]
    bodies = []
    for name, path in itertools.product(named, paths):
        answer = await suite.client.get(f"{TENANTS}/{name}{path}", headers=own.auth)
        document = refused(answer, 404, "tenant_not_found")
        bodies.append({k: v for k, v in document.items() if k not in ("instance", "requestId")})
    assert all(body == bodies[0] for body in bodies)
    changing = {"name": "Mine"}
    refused(await patch(suite, other, own.auth, **changing), 404, "tenant_not_found")
    setting = {"configKey": "app.x", "configValue": 1}
    answer = await suite.client.post(f"{TENANTS}/{other.id}/config", json=setting, headers=own.auth)
    refused(answer, 404, "tenant_not_found")
    answer = await suite.client.delete(f"{TENANTS}/{other.id}/config/app.x", headers=own.auth)
    refused(answer, 404, "tenant_not_found")


async def test_an_operator_reads_any_tenant_but_not_one_that_hints_contradict(suite: Suite) -> None:
    """Catalogue 97."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    path = f"{TENANTS}/{tenant.slug}"
    assert fine(await suite.client.get(path, headers=suite.operator)) == tenant.document
    agreeing = suite.operator | {"X-Tenant-ID": str(tenant.id)}
    fine(await suite.client.get(path, headers=agreeing))
    for hint in (
        {"X-Tenant-ID": str(other.id)},
        {"X-Tenant-Slug": other.slug},
        {"X-Tenant-Slug": "nobody-at-all"},
    ):
        problem = refused(await suite.client.get(path, headers=suite.operator | hint), 400, "tenant_conflict")
        assert other.slug not in str(problem)
    answer = await suite.client.get(f"{TENANTS}/{new_id()}", headers=suite.operator)
    refused(answer, 404, "tenant_not_found")


async def test_an_operator_inside_a_tenant_is_like_its_admin(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    acting = await act_as(suite, tenant)
    fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=acting))
    refused(await suite.client.get(f"{TENANTS}/{other.id}", headers=acting), 404, "tenant_not_found")
    refused(await suite.client.get(TENANTS, headers=acting), 403, "permission_denied")
    refused(await patch(suite, tenant, acting, slug=new_slug()), 403, "permission_denied")


async def test_the_list_is_the_operators_newest_first_and_pages_through_all(suite: Suite) -> None:
    mark = new_slug("page")
    made = [fine(await create(suite, name=f"{mark} {number}", plan="premium"), 201) for number in range(5)]
    query: dict[str, Any] = {"q": mark.upper(), "limit": 2}
    answer = await suite.client.get(TENANTS, params=query, headers=suite.operator)
    seen = fine(answer)
    while "next" in answer.links:
        answer = await suite.client.get(answer.links["next"]["url"], headers=suite.operator)
        seen += fine(answer)
    assert [one["id"] for one in seen] == [one["id"] for one in reversed(made)]
    assert seen[0] == {name: value for name, value in made[-1].items() if name != "settings"}
    oldest = await suite.client.get(TENANTS, params=query | {"order": "asc"}, headers=suite.operator)
    assert fine(oldest)[0]["id"] == made[0]["id"]


async def test_the_list_filters_by_status_plan_and_text(suite: Suite) -> None:
    mark = new_slug("find")
    basic = fine(await create(suite, name=f"{mark} one"), 201)
    custom = fine(await create(suite, slug=f"{mark}-two", plan="custom"), 201)
    reason = {"reason": "A test."}
    fine(await suite.client.post(f"{TENANTS}/{basic['id']}/suspend", json=reason, headers=suite.operator))

    async def found(**query: str) -> list[str]:
        answer = await suite.client.get(TENANTS, params={"q": mark} | query, headers=suite.operator)
        return [one["id"] for one in fine(answer)]

    assert await found() == [custom["id"], basic["id"]]
    assert await found(plan="custom") == [custom["id"]]
    assert await found(status="suspended") == [basic["id"]]
    assert await found(status="active", plan="basic") == []
    # What LIKE would take for a wildcard is a character like any other.
    assert await found(q=f"{mark}%") == await found(q=f"{mark[:-1]}_") == []


async def test_members_see_no_list(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    assert refused(await suite.client.get(TENANTS, headers=tenant.auth), 403, "permission_denied")


async def test_an_admin_changes_what_members_may(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=500, settings={"a": {"b": 1, "c": 2}, "d": 3})
    admin = await suite.user(tenant, "admin")
    domain = f"{tenant.slug}.example"
    changed = fine(
        await patch(
            suite,
            tenant,
            admin.auth,
            name="Renamed",
            domain=domain.upper(),
            maxUsers=400,
            maxStorage=7,
            features={"ai_verification": False},
            settings={"a": {"b": None, "e": 5}, "d": None, "f": "new"},
        )
    )
    assert (changed["name"], changed["domain"]) == ("Renamed", domain)
    assert (changed["maxUsers"], changed["maxStorage"]) == (400, 7)
    assert changed["features"]["ai_verification"] is False
    assert changed["settings"] == {"a": {"c": 2, "e": 5}, "f": "new"}
    read = await suite.client.get(f"{TENANTS}/{tenant.id}", headers=admin.auth)
    assert fine(read) == changed
    assert read.headers["etag"] == '"2"'


async def test_a_change_is_audited_without_the_values_of_personal_fields(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=500)
    fine(await patch(suite, tenant, tenant.auth, name="Secretly Renamed", maxUsers=9, settings={"x": 1}))
    answer = await suite.client.get(
        f"{TENANTS}/{tenant.id}/audit-logs", params={"action": "tenant.updated"}, headers=tenant.auth
    )
    (row,) = fine(answer)
    assert row["changes"] == {"name": {}, "max_users": {"old": 500, "new": 9}, "settings": {}}
    assert row["actor"] == str(tenant.owner.id)
    # The owner's own change, and nothing a second time.
    assert [one["action"] for one in await audit_rows(suite, tenant.id)].count("tenant.updated") == 1


async def test_members_may_lower_and_not_raise(suite: Suite) -> None:
    """Catalogue 94."""
    tenant = await suite.tenant("premium", maxUsers=50, features={"biometric_auth": False})
    for raising in (
        {"maxUsers": 51},
        {"maxUsers": None},
        {"maxUsers": 5_000},
        {"features": {"biometric_auth": True}},
        {"features": {"ai_verification": True}},
        {"slug": new_slug()},
    ):
        problem = refused(await patch(suite, tenant, tenant.auth, **raising), 403, "permission_denied")
        assert problem["required"] == "operator"
    for unknown in ({"plan": "custom"}, {"status": "active"}, {"tenantId": str(new_id())}, {"epoch": 4}):
        assert refused(await patch(suite, tenant, tenant.auth, **unknown), 422, "validation_failed")
    read = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=tenant.auth))
    assert read == tenant.document


async def test_members_switch_on_again_what_they_switched_off_but_not_what_an_operator_did(
    suite: Suite,
) -> None:
    """Catalogue 94."""
    tenant = await suite.tenant("premium")
    off, on = ({"features": {"biometric_auth": value}} for value in (False, True))
    fine(await patch(suite, tenant, tenant.auth, **off))
    assert fine(await patch(suite, tenant, tenant.auth, **on))["features"]["biometric_auth"] is True
    fine(await patch(suite, tenant, suite.operator, **off))
    refused(await patch(suite, tenant, tenant.auth, **on), 403, "permission_denied")
    by_config = {"configKey": "features.biometric_auth", "configValue": True}
    path = f"{TENANTS}/{tenant.id}/config"
    answer = await suite.client.post(path, json=by_config, headers=tenant.auth)
    refused(answer, 403, "config_exceeds_plan")
    refused(
        await suite.client.delete(f"{path}/features.biometric_auth", headers=tenant.auth),
        *(403, "config_exceeds_plan"),
    )
    branding = {"settings": {"custom_branding": False}}
    fine(await patch(suite, tenant, suite.operator, **branding))
    branding = {"settings": {"custom_branding": True}}
    refused(await patch(suite, tenant, tenant.auth, **branding), 403, "permission_denied")
    fine(await patch(suite, tenant, suite.operator, **on))
    fine(await patch(suite, tenant, tenant.auth, **off))
    fine(await patch(suite, tenant, tenant.auth, **on))


async def test_operators_raise_up_to_the_plan(suite: Suite) -> None:
    tenant = await suite.tenant("premium", maxUsers=50, features={"biometric_auth": False})
    more = {"maxUsers": 1_000, "features": {"biometric_auth": True}}
    changed = fine(await patch(suite, tenant, suite.operator, **more))
    assert changed["maxUsers"] == 1_000
    assert changed["features"]["biometric_auth"] is True
    refused(await patch(suite, tenant, suite.operator, maxUsers=1_001), 422, "limit_exceeds_plan")
    more = {"features": {"ai_verification": True}}
    refused(await patch(suite, tenant, suite.operator, **more), 422, "feature_not_in_plan")


async def test_features_have_one_history_whichever_way_they_change(suite: Suite) -> None:
    tenant = await suite.tenant("enterprise")
    fine(await patch(suite, tenant, tenant.auth, features={"ai_verification": False}))
    body = {"configKey": "features.ai_verification", "configValue": True}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=suite.operator))
    read = await suite.client.get(f"{TENANTS}/{tenant.id}", headers=tenant.auth)
    assert fine(read)["features"]["ai_verification"] is True
    assert read.headers["etag"] == '"3"'
    fine(await patch(suite, tenant, tenant.auth, settings={"custom_branding": False}))
    path = f"{TENANTS}/{tenant.id}/config/features.ai_verification/history"
    history = fine(await suite.client.get(path, headers=tenant.auth))
    assert [(one["version"], one["configValue"]) for one in history] == [(2, True), (1, False)]


async def test_settings_show_the_branding_feature_as_it_is_now(suite: Suite) -> None:
    tenant = await suite.tenant("premium", settings={"custom_branding": True})
    fine(await patch(suite, tenant, tenant.auth, features={"custom_branding": False}))
    read = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=tenant.auth))
    assert read["settings"] == {"custom_branding": False}
    problem = refused(
        await patch(
            suite,
            tenant,
            tenant.auth,
            features={"custom_branding": False},
            settings={"custom_branding": True},
        ),
        *(422, "validation_failed"),
    )
    assert fields(problem) == [("settings.custom_branding", "contradiction")]


@pytest.mark.parametrize("field", ["name", "slug", "subdomain", "features", "settings"])
async def test_what_a_tenant_cannot_lack_takes_no_null(suite: Suite, field: str) -> None:
    tenant = await suite.tenant("custom")
    problem = refused(await patch(suite, tenant, suite.operator, **{field: None}), 422, "validation_failed")
    assert [name for name, _ in fields(problem)] == [field]


async def test_an_outdated_if_match_changes_nothing(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    fine(await patch(suite, tenant, tenant.auth | {"If-Match": '"1"'}, name="First"))
    refused(
        await patch(suite, tenant, tenant.auth | {"If-Match": '"1"'}, name="Second"),
        412,
        "precondition_failed",
    )
    assert fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=tenant.auth))["name"] == "First"
    fine(await patch(suite, tenant, tenant.auth | {"If-Match": "*"}, name="Third"))


async def test_a_change_that_changes_nothing_is_no_new_version(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    answer = await patch(suite, tenant, tenant.auth, name=tenant.document["name"], features={})
    assert fine(answer) == tenant.document
    assert answer.headers["etag"] == '"1"'


async def test_who_lacks_the_permission_changes_nothing(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant, "member")
    problem = refused(await patch(suite, tenant, member.auth, name="Mine"), 403, "permission_denied")
    assert problem["required"] == "tenant:write"


async def test_settings_together_stay_within_their_size(suite: Suite) -> None:
    tenant = await suite.tenant("custom", settings={"a": "x" * 9_000})
    problem = refused(
        await patch(suite, tenant, tenant.auth, settings={"b": "y" * 9_000}), 422, "validation_failed"
    )
    assert fields(problem) == [("settings", "json_too_large")]
    fine(await patch(suite, tenant, tenant.auth, settings={"a": None, "b": "y" * 9_000}))
