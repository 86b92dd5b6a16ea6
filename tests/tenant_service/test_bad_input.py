"""No input reaches a 5xx: nasty values in every place of every route of this service."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, new_slug

NASTY: tuple[Any, ...] = (
    *("", " ", "\x00", "a\x00b", "'; drop table tenants; --", "' or '1'='1", "%", "_", "\\", "%00"),
    *("../../etc", "\ud800", "\u202e", "\ufb01", "é" * 300, "x" * 5_000, "${jndi:ldap://x}", "<script>"),
    *("\r\nX: y", "null", "NaN", None, True, -1, 0, 2**31, 2**63, 2**70, 10**400, 1.5),
    *(float("inf"), float("nan"), [], [None], {}, {"a": 1}),
)
_TEXTS = tuple(value for value in NASTY if isinstance(value, str) and "\ud800" not in value)
_FIELDS = (
    *("name", "slug", "domain", "subdomain", "plan"),
    *("maxUsers", "maxStorage", "features", "settings", "owner"),
)
_QUERIES = (
    *("q", "status", "plan", "limit", "order", "cursor"),
    *("from", "to", "actor", "action", "outcome", "kind"),
)


async def ask(
    suite: Suite, method: str, path: str, headers: dict[str, str], body: Any = None, **query: str
) -> None:
    """Send the request as far as HTTP can carry it; whatever the answer is, it is no defect of ours."""
    content = None if body is None else lenient_json(body)
    sent = headers | ({} if content is None else {"Content-Type": "application/json"})
    answer = await suite.client.request(method, path, headers=sent, content=content, params=query or None)
    assert answer.status_code < 500, (method, path, body, query, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "select" not in answer.text.lower()


def lenient_json(body: Any) -> bytes:
    """Return JSON as Python's lenient encoder writes it, infinities and half surrogates included."""
    return json.dumps(body).encode()


@pytest.mark.parametrize("value", NASTY, ids=lambda value: ascii(value)[:30])
async def test_bodies(suite: Suite, value: Any) -> None:
    """Catalogue 43."""
    tenant = await suite.tenant("custom")
    path = f"{TENANTS}/{tenant.id}"
    for field in _FIELDS:
        body = {"name": "Nasty", "slug": new_slug("nasty"), "plan": "custom"} | {field: value}
        await ask(suite, "POST", f"{TENANTS}/create", suite.operator, body)
        await ask(suite, "PATCH", path, suite.operator, {field: value})
    for field in ("email", "name", "password"):
        owner = {"email": "a@b.example"} | {field: value}
        body = {"name": "Nasty", "slug": new_slug("nasty"), "owner": owner}
        await ask(suite, "POST", f"{TENANTS}/create", suite.operator, body)
    for field in ("configKey", "configValue", "isEncrypted"):
        body = {"configKey": "app.nasty", "configValue": 1, "isEncrypted": True} | {field: value}
        await ask(suite, "POST", f"{path}/config", tenant.auth, body)
    for key in ("security.password_policy", "session.timeout", "api.rate_limit", "file_upload.max_size"):
        await ask(suite, "POST", f"{path}/config", suite.operator, {"configKey": key, "configValue": value})
    await ask(suite, "POST", f"{path}/config/app.nasty/rollback", tenant.auth, {"version": value})
    await ask(suite, "POST", f"{path}/suspend", suite.operator, {"reason": value})
    await ask(suite, "POST", f"{path}/suspend", suite.operator, value)
    await ask(suite, "PATCH", "/api/v1/plans/basic", suite.operator, {"monthlyPrice": value or -1})


@pytest.mark.parametrize("value", _TEXTS, ids=lambda value: ascii(value)[:30])
async def test_paths_and_queries(suite: Suite, value: str) -> None:
    """Catalogue 43."""
    tenant = await suite.tenant("custom")
    path, quoted = f"{TENANTS}/{tenant.id}", quote(value[:1_000], safe="")
    for headers in (tenant.auth, suite.operator):
        for tail in ("", "/config", "/audit-logs"):
            await ask(suite, "GET", f"{TENANTS}/{quoted}{tail}", headers)
        await ask(suite, "GET", f"{path}/config/{quoted}", headers)
        await ask(suite, "DELETE", f"{path}/config/{quoted}", headers)
        await ask(suite, "GET", f"{path}/config/{quoted}/history", headers)
        for name in _QUERIES:
            for listed in (TENANTS, f"{path}/config", f"{path}/audit-logs", f"{path}/config/app.x/history"):
                await ask(suite, "GET", listed, headers, **{name: value[:1_000]})
    await ask(suite, "GET", f"/api/v1/plans/{quoted}", {})
    await ask(suite, "GET", f"{path}/config/session.timeout", tenant.auth, reveal=value[:100])


@pytest.mark.parametrize("header", ["If-Match", "Idempotency-Key", "X-Request-ID", "User-Agent"])
async def test_headers(suite: Suite, header: str) -> None:
    tenant = await suite.tenant("custom")
    path = f"{TENANTS}/{tenant.id}"
    body = {"configKey": "app.x", "configValue": 1}
    for value in ("", '"', '"0', 'W/"1"', "*, *", "é".encode(), b"\xff\xfe", "x" * 2_000, '"1", "2"'):
        sent: Any = [*tenant.auth.items(), (header, value)]
        answer = await suite.client.post(f"{path}/config", json=body, headers=httpx.Headers(sent))
        assert answer.status_code < 500, (header, value, answer.text)
        answer = await suite.client.patch(path, json={"name": "X"}, headers=httpx.Headers(sent))
        assert answer.status_code < 500, (header, value, answer.text)


@pytest.mark.parametrize(
    ("reason", "told"), [("", "takes at least 1 character"), ("x" * 201, "takes at most 200 characters")]
)
async def test_a_text_of_the_wrong_length_is_told_what_it_takes(suite: Suite, reason: str, told: str) -> None:
    tenant = await suite.tenant()
    path = f"{TENANTS}/{tenant.id}/suspend"
    answer = await suite.client.post(path, json={"reason": reason}, headers=suite.operator)
    assert [(one["field"], one["message"]) for one in answer.json()["errors"]] == [("reason", told)]
