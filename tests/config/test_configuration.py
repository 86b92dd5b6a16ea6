"""The configuration routes: layers, rules for members and operators, versions, history and rollback."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from mis_models.work import OutboxRow
from mis_tenancy.configuration import KNOWN
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import GIB
from mis_tenancy.tables import ConfigurationRow, ConfigurationVersionRow
from tenant_service.configuration.repository import VERSIONS_KEPT
from tenant_service.configuration.room import MOST_KEYS
from tests.answers import eventually, fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS, act_as, fields

POLICY = "security.password_policy"
NOW = datetime.now(UTC)


class Config:
    """The configuration of one tenant, as one caller asks for it."""

    def __init__(self, suite: Suite, tenant: TenantHandle, headers: dict[str, str] | None = None) -> None:
        self.client = suite.client
        self.path = f"{TENANTS}/{tenant.id}/config"
        self.headers = tenant.auth if headers is None else headers

    async def put(
        self, key: str, value: Any, *, encrypted: bool = False, if_match: str = "*"
    ) -> httpx.Response:
        body = {"configKey": key, "configValue": value, "isEncrypted": encrypted}
        return await self.client.post(self.path, json=body, headers=self.headers | {"If-Match": if_match})

    async def get(self, key: str, **query: Any) -> httpx.Response:
        return await self.client.get(f"{self.path}/{key}", params=query, headers=self.headers)

    async def drop(self, key: str, if_match: str = "*") -> httpx.Response:
        headers = self.headers | {"If-Match": if_match}
        return await self.client.delete(f"{self.path}/{key}", headers=headers)

    async def history(self, key: str, **query: Any) -> httpx.Response:
        return await self.client.get(f"{self.path}/{key}/history", params=query, headers=self.headers)

    async def roll_back(self, key: str, version: Any, if_match: str = "*") -> httpx.Response:
        headers = self.headers | {"If-Match": if_match}
        return await self.client.post(
            f"{self.path}/{key}/rollback", json={"version": version}, headers=headers
        )


async def test_the_plans_configuration_is_in_force_until_the_tenant_has_its_own(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("premium"))
    listed = {
        one["configKey"]: one for one in fine(await config.client.get(config.path, headers=config.headers))
    }
    assert listed["session.timeout"] == {
        "configKey": "session.timeout",
        "configValue": 7_200,
        "override": None,
        "source": "plan",
        "isEncrypted": False,
        "version": 0,
        "updatedAt": None,
        "fingerprint": None,
    }
    assert listed["session.absolute_timeout"]["source"] == "default"
    assert listed["file_upload.max_size"]["configValue"] == 100 * GIB
    assert listed["features.biometric_auth"]["configValue"] is True
    assert list(listed) == sorted(listed)


async def test_objects_merge_field_by_field_over_the_plan(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("premium"))
    own = {"minLength": 12, "requireSpecialChars": True}
    answer = await config.put(POLICY, own)
    entry = fine(answer)
    assert entry["configValue"] == {
        "minLength": 12,
        "requireUppercase": True,
        "requireLowercase": True,
        "requireNumbers": True,
        "requireSpecialChars": True,
        "policyMode": "composition",
    }
    assert (entry["override"], entry["source"], entry["version"]) == (own, "tenant", 1)
    assert answer.headers["etag"] == '"1"'
    assert fine(await config.get(POLICY)) == entry
    fine(await config.drop(POLICY), 204)
    back = fine(await config.get(POLICY))
    assert (back["configValue"]["minLength"], back["source"], back["version"]) == (10, "plan", 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("session.timeout", 59),
        ("session.timeout", "3600"),
        ("session.timeout", True),
        ("session.timeout", None),
        ("session.timeout", 1e3),
        ("api.rate_limit", 0),
        ("api.burst_limit", None),
        ("file_upload.max_size", -1),
        ("file_upload.allowed_types", []),
        ("file_upload.allowed_types", "image/png"),
        ("file_upload.allowed_types", ["image"]),
        ("file_upload.allowed_types", ["image/png; q=1"]),
        ("file_upload.allowed_types", ["image/png"] * 51),
        ("features.biometric_auth", "true"),
        (POLICY, []),
        (POLICY, {"minLength": 7}),
        (POLICY, {"minLenght": 12}),
        (POLICY, {"requireNumbers": 1}),
        (POLICY, {"policyMode": "none"}),
    ],
)
async def test_known_keys_are_typed(suite: Suite, key: str, value: Any) -> None:
    tenant = await suite.tenant("custom")
    for headers in (tenant.auth, suite.operator):
        problem = refused(await Config(suite, tenant, headers).put(key, value), 422, "config_invalid")
        assert fields(problem) == [("configValue", "config_invalid")]


@pytest.mark.parametrize(
    "key",
    [
        "security.passwords",
        "session.Timeout",
        "API.rate_limit",
        "features.x",
        "branding.logo",
        "sso.x",
        "users.x",
    ],
)
async def test_an_unknown_key_in_a_known_namespace_is_refused(suite: Suite, key: str) -> None:
    config = Config(suite, await suite.tenant("custom"))
    refused(await config.put(key, 1), 422, "config_key_unknown")
    refused(await config.get(key), 404, "config_not_found")


@pytest.mark.parametrize("key", ["", "nodots", ".a", "a.", "a..b", "a b.c", "9.a", "a." + "b" * 254, "ä.b"])
async def test_what_is_no_dotted_key_is_refused(suite: Suite, key: str) -> None:
    config = Config(suite, await suite.tenant("custom"))
    problem = refused(await config.put(key, 1), 422, "validation_failed")
    assert [name for name, _ in fields(problem)] == ["configKey"]


@pytest.mark.parametrize(
    "value", [None, False, 0, "", "text ünïcode 🎉", [], {}, {"a": [1, 2.5, {"b": None}]}, 10**30, -1.5e-300]
)
async def test_other_keys_take_any_json_and_give_it_back(suite: Suite, value: Any) -> None:
    config = Config(suite, await suite.tenant("custom"))
    fine(await config.put("app.anything", value))
    entry = fine(await config.get("app.anything"))
    assert entry["configValue"] == value
    assert entry["source"] == "tenant"


@pytest.mark.parametrize(
    "body",
    [
        '{"configKey": "app.x", "configValue": "\\u0000"}',
        '{"configKey": "app.x", "configValue": {"\\u0000": 1}}',
        '{"configKey": "app.x", "configValue": "\\ud800"}',
        '{"configKey": "app.x", "configValue": NaN}',
        '{"configKey": "app.x", "configValue": [1e999]}',
        '{"configKey": "app.x", "configValue": ' + "[" * 40 + "]" * 40 + "}",
        '{"configKey": "app.x", "configValue": "' + "x" * 65_535 + '"}',
        '{"configKey": "app.x"}',
        '{"configKey": "app.x", "configValue": 1, "tenantId": "x"}',
    ],
)
async def test_json_that_could_not_be_kept_is_422(suite: Suite, body: str) -> None:
    config = Config(suite, await suite.tenant("custom"))
    headers = config.headers | {"Content-Type": "application/json"}
    answer = await config.client.post(config.path, content=body, headers=headers)
    refused(answer, 422, "validation_failed")


async def test_a_body_that_is_no_json_is_400(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("custom"))
    headers = config.headers | {"Content-Type": "application/json"}
    for body in ("{", "[" * 5_000):
        answer = await config.client.post(config.path, content=body, headers=headers)
        refused(answer, 400, "body_malformed")


@pytest.mark.parametrize(
    ("key", "tighter", "looser", "code"),
    [
        ("session.timeout", 7_199, 7_201, "config_may_only_tighten"),
        ("session.absolute_timeout", 3_600, 31 * 24 * 3600, "config_may_only_tighten"),
        (POLICY, {"minLength": 11}, {"minLength": 9}, "config_may_only_tighten"),
        (POLICY, {"requireNumbers": True}, {"requireNumbers": False}, "config_may_only_tighten"),
        ("api.rate_limit", 9_999, 10_001, "config_exceeds_plan"),
        ("api.rate_limit", 5_000, None, "config_exceeds_plan"),
        ("api.burst_limit", 99, 101, "config_exceeds_plan"),
        ("file_upload.max_size", GIB, 101 * GIB, "config_exceeds_plan"),
        ("features.biometric_auth", False, None, ""),
        ("features.ai_verification", False, True, "config_exceeds_plan"),
    ],
)
async def test_members_may_only_tighten_and_not_exceed_the_plan(
    suite: Suite, key: str, tighter: Any, looser: Any, code: str
) -> None:
    tenant = await suite.tenant("premium")
    config = Config(suite, tenant)
    fine(await config.put(key, tighter))
    if code:
        problem = refused(await config.put(key, looser), 403, code)
        assert problem["configKey"] == key
        # An operator inside the tenant is held to the same, one outside is not.
        refused(await Config(suite, tenant, await act_as(suite, tenant)).put(key, looser), 403, code)
        fine(await Config(suite, tenant, suite.operator).put(key, looser))
    fine(await config.drop(key), 204)


async def test_a_rollback_is_held_to_the_same_rules(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    operator, member = Config(suite, tenant, suite.operator), Config(suite, tenant)
    fine(await operator.put("session.timeout", 9_000))
    fine(await member.put("session.timeout", 600))
    refused(await member.roll_back("session.timeout", 1), 403, "config_may_only_tighten")
    assert fine(await operator.roll_back("session.timeout", 1))["configValue"] == 9_000


@pytest.mark.parametrize(
    ("key", "lowered", "lower", "between", "code"),
    [
        ("api.rate_limit", 500, 300, 501, "config_exceeds_plan"),
        ("features.biometric_auth", False, False, True, "config_exceeds_plan"),
        ("session.timeout", 900, 600, 901, "config_may_only_tighten"),
        (
            "security.password_policy",
            {"minLength": 16},
            {"minLength": 20, "requireNumbers": True},
            {"requireNumbers": True},
            "config_may_only_tighten",
        ),
    ],
)
async def test_what_an_operator_lowered_only_an_operator_raises(
    suite: Suite, key: str, lowered: Any, lower: Any, between: Any, code: str
) -> None:
    """Catalogue 94."""
    tenant = await suite.tenant("premium")
    operator, member = Config(suite, tenant, suite.operator), Config(suite, tenant)
    plan = fine(await member.get(key))["configValue"]
    fine(await member.put(key, lower))
    # What a member has lowered himself he may take back.
    fine(await member.put(key, plan))
    fine(await member.drop(key), 204)
    fine(await operator.put(key, lowered))
    fine(await member.put(key, lower))
    for refusal in (
        await member.put(key, plan),
        await member.put(key, between),
        await member.drop(key),
        await member.roll_back(key, 2),
        await member.roll_back(key, 3),
    ):
        problem = refused(refusal, 403, code)
        assert problem["planValue"] == plan
        assert "operatorValue" in problem
    assert fine(await member.put(key, lowered))["override"] == lowered
    # The operator takes his word back, and the plan alone bounds again.
    fine(await operator.drop(key), 204)
    fine(await member.put(key, lower))
    assert fine(await member.put(key, plan))["configValue"] == plan


async def test_what_an_operator_granted_beyond_the_plan_is_no_members_to_take_again(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    operator, member = Config(suite, tenant, suite.operator), Config(suite, tenant)
    fine(await operator.put("api.rate_limit", 90_000))
    fine(await member.put("api.rate_limit", 700))
    problem = refused(await member.put("api.rate_limit", 90_000), 403, "config_exceeds_plan")
    assert "operatorValue" not in problem
    assert fine(await member.put("api.rate_limit", 10_000))["configValue"] == 10_000


async def test_an_operator_inside_the_tenant_is_held_as_its_admins_are(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    inside = Config(suite, tenant, await act_as(suite, tenant))
    fine(await inside.put("api.rate_limit", 500))
    # His is a member's value: members may take it back.
    assert fine(await Config(suite, tenant).put("api.rate_limit", 10_000))["configValue"] == 10_000
    fine(await Config(suite, tenant, suite.operator).put("api.rate_limit", 400))
    refused(await inside.put("api.rate_limit", 500), 403, "config_exceeds_plan")


async def test_a_tenant_makes_so_many_keys_and_no_more(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    fine(await config.put("app.first", 1))
    async with suite.database.transaction(tenant.id) as session:
        same = {"config_value": 1, "is_encrypted": False, "version": 1, "created_at": NOW, "updated_at": NOW}
        keys = [f"app.k{number}" for number in range(MOST_KEYS - 1)]
        await session.execute(
            insert(ConfigurationRow), [{"id": new_id(), "config_key": key} | same for key in keys]
        )
    problem = refused(await config.put("app.more", 1), 409, "limit_exceeded")
    assert (problem["limit"], problem["used"], problem["requested"]) == (MOST_KEYS, MOST_KEYS, 1)
    # What is there can change, and the suite's own keys are no tenant's making.
    fine(await config.put("app.first", 2))
    fine(await config.put("session.timeout", 900))
    fine(await config.drop("app.k1"), 204)
    fine(await config.put("app.k1", 1))
    fine(await config.drop("app.k1"), 204)
    fine(await config.put("app.more", 1))
    removal, value = fine(await config.history("app.k1"))[:2]
    assert removal["deleted"]
    refused(await config.roll_back("app.k1", value["version"]), 409, "limit_exceeded")


async def test_the_oldest_versions_of_a_key_go_and_an_operators_word_stays(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    config, theirs = Config(suite, tenant), Config(suite, tenant, suite.operator)
    fine(await theirs.put("app.value", "theirs"))
    fine(await config.put("app.value", "second"))
    async with suite.database.transaction(tenant.id) as session:
        moved = update(ConfigurationRow).where(ConfigurationRow.config_key == "app.value")
        await session.execute(moved.values(version=VERSIONS_KEPT + 1))
        last = {"config_key": "app.value", "version": VERSIONS_KEPT + 1, "config_value": "last"}
        told = {"is_encrypted": False, "deleted": False, "by_operator": False, "created_at": NOW}
        await session.execute(
            insert(ConfigurationVersionRow), [last | told | {"changed_by": tenant.owner.id}]
        )
    fine(await config.put("app.value", "newest"))
    kept = [one["version"] for one in fine(await config.history("app.value"))]
    assert kept == [VERSIONS_KEPT + 2, VERSIONS_KEPT + 1, 1]


async def test_history_keeps_every_version_also_removals_and_rollback_makes_a_new_one(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    for value in ("one", {"two": 2}):
        fine(await config.put("app.value", value))
    fine(await config.drop("app.value"), 204)
    refused(await config.get("app.value"), 404, "config_not_found")
    rolled = fine(await config.roll_back("app.value", 1))
    assert (rolled["configValue"], rolled["version"]) == ("one", 4)
    history = fine(await config.history("app.value"))
    assert [(one["version"], one["configValue"], one["deleted"]) for one in history] == [
        *((4, "one", False), (3, None, True)),
        *((2, {"two": 2}, False), (1, "one", False)),
    ]
    assert {one["changedBy"] for one in history} == {str(tenant.owner.id)}
    # Back to the removal: the tenant has no value of its own again.
    removed = fine(await config.roll_back("app.value", 3))
    assert (removed["configValue"], removed["source"], removed["version"]) == (None, "default", 0)
    refused(await config.get("app.value"), 404, "config_not_found")
    assert [one["version"] for one in fine(await config.history("app.value"))] == [5, 4, 3, 2, 1]
    refused(await config.roll_back("app.value", 99), 404, "config_version_not_found")
    refused(await config.roll_back("app.none", 1), 404, "config_version_not_found")
    for version in (0, -1, 1.5, 2**31, None):
        refused(await config.roll_back("app.value", version), 422, "validation_failed")


async def test_a_rollback_to_a_removal_lets_the_plans_value_back_in(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("premium"))
    fine(await config.put("session.timeout", 100))
    fine(await config.drop("session.timeout"), 204)
    fine(await config.put("session.timeout", 200))
    entry = fine(await config.roll_back("session.timeout", 2))
    assert (entry["configValue"], entry["source"], entry["version"]) == (7_200, "plan", 0)


async def test_history_pages_in_both_orders(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("custom"))
    for number in range(1, 6):
        fine(await config.put("app.value", number))
    for order, expected in (("desc", [5, 4, 3, 2, 1]), ("asc", [1, 2, 3, 4, 5])):
        answer = await config.history("app.value", limit=2, order=order)
        seen = [one["version"] for one in fine(answer)]
        while "next" in answer.links:
            answer = await config.client.get(answer.links["next"]["url"], headers=config.headers)
            seen += [one["version"] for one in fine(answer)]
        assert seen == expected
    refused(await config.history("app.none"), 404, "config_not_found")
    assert fine(await config.history("session.timeout")) == []
    highest = "_" * 21 + "w"
    assert fine(await config.history("app.value", cursor=highest))


async def test_the_list_pages_by_key(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("custom"))
    for number in range(5):
        fine(await config.put(f"zoo.animal{number}", number))
    whole = fine(await config.client.get(config.path, headers=config.headers))
    answer = await config.client.get(config.path, params={"limit": 3}, headers=config.headers)
    seen = fine(answer)
    while "next" in answer.links:
        answer = await config.client.get(answer.links["next"]["url"], headers=config.headers)
        seen += fine(answer)
    assert seen == whole
    assert len(whole) == len(KNOWN) + 5
    for cursor in ("!", "gICA"):
        answer = await config.client.get(config.path, params={"cursor": cursor}, headers=config.headers)
        refused(answer, 422, "validation_failed")


async def test_if_match_guards_each_change(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("custom"))
    fine(await config.put("app.value", 1, if_match='"0"'))
    refused(await config.put("app.value", 2, if_match='"0"'), 412, "precondition_failed")
    refused(await config.drop("app.value", if_match='"7"'), 412, "precondition_failed")
    refused(await config.roll_back("app.value", 1, if_match='"7"'), 412, "precondition_failed")
    fine(await config.put("app.value", 2, if_match='"1"'))


async def test_parallel_changes_of_one_key_are_versions_one_after_the_other(suite: Suite) -> None:
    config = Config(suite, await suite.tenant("custom"))
    answers = await asyncio.gather(*(config.put("app.value", number) for number in range(8)))
    assert sorted(fine(answer)["version"] for answer in answers) == list(range(1, 9))
    history = fine(await config.history("app.value"))
    assert [one["version"] for one in history] == list(range(8, 0, -1))
    assert fine(await config.get("app.value"))["configValue"] == history[0]["configValue"]


async def test_a_change_is_in_force_in_every_service_within_a_second(suite: Suite) -> None:
    tenant = await suite.tenant("custom")

    async def ask() -> httpx.Response:
        return await suite.client.get("/api/v1/users", params={"limit": 1}, headers=tenant.auth)

    assert "q=1000;w=1" in (await ask()).headers["ratelimit-policy"]
    fine(await Config(suite, tenant).put("api.burst_limit", 321))
    await eventually(ask, lambda answer: "q=321;w=1" in answer.headers["ratelimit-policy"])


async def test_changes_are_audited_with_values_only_of_known_keys(suite: Suite) -> None:
    """Catalogue 128 and 134."""
    tenant = await suite.tenant("custom")
    config = Config(suite, tenant)
    fine(await config.put("session.timeout", 600))
    fine(await config.put("app.free", "hush-hush"))
    fine(await config.roll_back("session.timeout", 1))
    fine(await config.drop("app.free"), 204)
    answer = await suite.client.get(
        f"{TENANTS}/{tenant.id}/audit-logs", params={"kind": "change"}, headers=tenant.auth
    )
    rows = [row for row in fine(answer) if row["action"].startswith("config.")]
    assert "hush-hush" not in str(rows)
    assert [(row["action"], row["resource"]) for row in rows] == [
        ("config.deleted", "config/app.free"),
        ("config.rolled_back", "config/session.timeout"),
        ("config.changed", "config/app.free"),
        ("config.changed", "config/session.timeout"),
    ]
    assert rows[-1]["changes"] == {"config_value": {"old": None, "new": 600}}


async def test_permissions_decide_who_reads_and_writes(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    member = Config(suite, tenant, (await suite.user(tenant, "member")).auth)
    admin = Config(suite, tenant, (await suite.user(tenant, "admin")).auth)
    for answer, required in (
        (await member.get("session.timeout"), "config:read"),
        (await member.history("session.timeout"), "config:read"),
        (await member.put("app.x", 1), "config:write"),
        (await member.drop("app.x"), "config:write"),
        (await member.roll_back("app.x", 1), "config:write"),
    ):
        assert refused(answer, 403, "permission_denied")["required"] == required
    fine(await admin.put("app.x", 1))
    fine(await admin.get("app.x"))


async def test_two_tenants_same_key_are_two_keys(suite: Suite) -> None:
    one, other = Config(suite, await suite.tenant("custom")), Config(suite, await suite.tenant("custom"))
    fine(await one.put("app.shared", "one's"))
    refused(await other.get("app.shared"), 404, "config_not_found")
    refused(await other.history("app.shared"), 404, "config_not_found")
    fine(await other.put("app.shared", "other's"))
    assert fine(await one.get("app.shared"))["configValue"] == "one's"


async def test_a_feature_is_told_of_as_configuration_and_as_a_part_of_the_tenant(suite: Suite) -> None:
    """Catalogue 95."""
    tenant = await suite.tenant("premium")
    config = Config(suite, tenant)
    fine(await config.put("features.biometric_auth", False))
    fine(await config.roll_back("features.biometric_auth", 1))
    assert (await config.drop("features.biometric_auth")).status_code == 204
    fine(await config.put("session.timeout", 600))
    async with suite.database.transaction(tenant.id) as session:
        told = await session.execute(
            select(OutboxRow.type, OutboxRow.data)
            .where(OutboxRow.tenant_id == tenant.id)
            .order_by(OutboxRow.id)
        )
        found = [(row.type, row.data) for row in told if row.type in ("config.changed", "tenant.updated")]
    feature = ("config.changed", {"configKey": "features.biometric_auth"})
    shown = ("tenant.updated", {"changed": ["features"]})
    # Two events of one moment are in no order.
    assert sorted(found, key=str) == sorted(
        [*[feature, shown] * 3, ("config.changed", {"configKey": "session.timeout"})], key=str
    )
