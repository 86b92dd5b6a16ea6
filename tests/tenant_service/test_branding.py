"""A tenant's look: set as a whole, shown to strangers while the plan has it, never another tenant's."""

import base64
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from mis_http.colors import ColorRole, contrasts, parse_color
from mis_jobs.jobs import Job
from mis_models.work import JobRow
from tenant_service.branding.jobs import CLEANUP_AFTER, LOGO_CLEANUP, LogoCleanup
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle, fresh_address
from tests.tenant_service.requests import TENANTS, audit_rows, fields, patch

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture"
JPEG = b"\xff\xd8\xff\xe0" + b"a picture"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "
DEFAULTS = {"primary": "#1d4ed8", "accent": "#0f766e", "background": "#ffffff", "text": "#1f2937"}
PLAIN = {"name": None, "colors": DEFAULTS, "logo": None}


def data_url(data: bytes, content_type: str = "image/png") -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


async def put(suite: Suite, tenant: TenantHandle, body: Any, **headers: str) -> httpx.Response:
    path = f"{TENANTS}/{tenant.id}/branding"
    return await suite.client.put(path, json=body, headers=tenant.auth | headers)


async def get(suite: Suite, tenant: TenantHandle) -> httpx.Response:
    return await suite.client.get(f"{TENANTS}/{tenant.id}/branding", headers=tenant.auth)


async def seen(suite: Suite, tenant: TenantHandle, **headers: str) -> httpx.Response:
    """Return what a stranger sees of the tenant."""
    async with suite.client_at(fresh_address()) as client:
        return await client.get(f"{TENANTS}/branding", headers={"X-Tenant-Slug": tenant.slug} | headers)


async def fetched(suite: Suite, url: str) -> httpx.Response:
    async with suite.client_at(fresh_address()) as client:
        return await client.get(url)


async def test_a_look_is_set_as_a_whole_and_put_again_as_it_was_read(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    unset = await get(suite, tenant)
    assert unset.headers["etag"] == '"0"'
    assert fine(unset)["colors"] == dict.fromkeys(DEFAULTS)
    body = {"name": "Acme", "colors": {"primary": "#F00", "text": "#123456"}, "logo": data_url(PNG)}
    answer = await put(suite, tenant, body)
    look = fine(answer)
    assert (look["name"], answer.headers["etag"]) == ("Acme", '"1"')
    assert look["colors"] == {"primary": "#ff0000", "accent": None, "background": None, "text": "#123456"}
    assert look == fine(await get(suite, tenant))
    again = await put(suite, tenant, {name: look[name] for name in ("name", "colors", "logo")})
    assert (fine(again), again.headers["etag"]) == (look, '"1"')
    emptied = fine(await put(suite, tenant, {}))
    assert (emptied["name"], emptied["logo"], set(emptied["colors"].values())) == (None, None, {None})


async def test_a_change_is_audited_once_without_what_names_say(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    fine(await put(suite, tenant, {"name": "Secret Name", "colors": {"primary": "#ff0000"}}))
    path = f"{TENANTS}/{tenant.id}/audit-logs?action=branding.changed"
    (row,) = fine(await suite.client.get(path, headers=tenant.auth))
    assert row["changes"] == {"name": {}, "colors": {"old": {}, "new": {"primary": "#ff0000"}}}
    assert len([one for one in await audit_rows(suite, tenant.id) if one["action"] != "tenant.created"]) == 1


async def test_an_outdated_if_match_changes_nothing(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    fine(await put(suite, tenant, {"name": "First"}, **{"If-Match": '"0"'}))
    refused(await put(suite, tenant, {"name": "Second"}, **{"If-Match": '"0"'}), 412, "precondition_failed")
    assert fine(await get(suite, tenant))["name"] == "First"


@pytest.mark.parametrize("named", ["header_id", "header_slug", "query", "subdomain"])
async def test_strangers_see_the_look_of_the_tenant_they_name(suite: Suite, named: str) -> None:
    tenant, other = await suite.tenant("premium"), await suite.tenant("premium")
    fine(await put(suite, tenant, {"name": "Mine"}))
    fine(await put(suite, other, {"name": "Theirs"}))
    headers = {
        "header_id": {"X-Tenant-ID": str(tenant.id)},
        "header_slug": {"X-Tenant-Slug": tenant.slug},
        "subdomain": {"Host": f"{tenant.slug}.mis.local"},
    }
    params = {"tenant": tenant.slug} if named == "query" else {}
    async with suite.client_at(fresh_address()) as client:
        answer = await client.get(f"{TENANTS}/branding", headers=headers.get(named, {}), params=params)
    assert fine(answer) == PLAIN | {"name": "Mine"}


async def test_a_cache_may_keep_a_look_for_a_minute_but_not_show_it_for_another_tenant(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    fine(await put(suite, tenant, {"name": "Mine"}))
    answer = await seen(suite, tenant)
    assert answer.headers["cache-control"] == "public, max-age=60"
    vary = {name.strip().lower() for name in answer.headers["vary"].split(",")}
    assert {"x-tenant-id", "x-tenant-slug", "host"} <= vary
    known = {"If-None-Match": f'W/"0", {answer.headers["etag"]}'}
    unchanged = await seen(suite, tenant, **known)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["vary"] == answer.headers["vary"]
    fine(await put(suite, tenant, {"name": "Changed"}))
    assert fine(await seen(suite, tenant, **known))["name"] == "Changed"
    # A refusal is nobody's to keep.
    async with suite.client_at(fresh_address()) as client:
        refusal = await client.get(f"{TENANTS}/branding", headers={"X-Tenant-Slug": "nobody-here"})
    refused(refusal, 404, "tenant_not_found")
    assert refusal.headers["cache-control"] == "no-store"


async def test_a_tenant_that_has_set_nothing_shows_nothing_of_itself(suite: Suite) -> None:
    for plan in ("basic", "premium"):
        assert fine(await seen(suite, await suite.tenant(plan))) == PLAIN


async def test_with_the_feature_the_look_is_lost_and_comes_back(suite: Suite) -> None:
    """Catalogue 95."""
    tenant = await suite.tenant("premium")
    look = fine(await put(suite, tenant, {"name": "Mine", "logo": data_url(PNG)}))
    fine(await patch(suite, tenant, suite.operator, features={"custom_branding": False}))
    assert fine(await seen(suite, tenant)) == PLAIN
    refused(await fetched(suite, look["logo"]), 404, "logo_not_found")
    for answer in (await get(suite, tenant), await put(suite, tenant, {"name": "Still"})):
        problem = refused(answer, 403, "feature_not_available")
        assert problem["availableIn"] == ["premium", "enterprise", "custom"]
    fine(await patch(suite, tenant, suite.operator, features={"custom_branding": True}))
    assert fine(await seen(suite, tenant))["name"] == "Mine"
    assert (await fetched(suite, look["logo"])).content == PNG


@pytest.mark.parametrize(("data", "kind"), [(PNG, "png"), (JPEG, "jpeg"), (WEBP, "webp")])
async def test_a_logo_is_served_to_everybody_as_a_picture_that_runs_nothing(
    suite: Suite, data: bytes, kind: str
) -> None:
    """Catalogue 114."""
    tenant = await suite.tenant("premium")
    look = fine(await put(suite, tenant, {"logo": data_url(data, f"image/{kind}")}))
    url = fine(await seen(suite, tenant))["logo"]
    assert url == look["logo"]
    answer = await fetched(suite, url)
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == f"image/{kind}"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["cache-control"] == "public, max-age=86400, immutable"
    outdated = await fetched(suite, url.rpartition("v=")[0] + "v=older")
    assert outdated.headers["cache-control"] == "public, max-age=60"


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    ("logo", "code"),
    [
        (data_url(SVG, "image/svg+xml"), "logo_refused"),
        (data_url(SVG, "image/png"), "logo_refused"),
        (data_url(JPEG, "image/png"), "logo_refused"),
        (data_url(b"<html>", "text/html"), "logo_refused"),
        (data_url(b"", "image/png"), "logo_refused"),
        (data_url(PNG + bytes(256 * 1024), "image/png"), "logo_refused"),
        (data_url(PNG + bytes(512 * 1024), "image/png"), "validation_failed"),
        ("data:image/png;base64,!!!!", "logo_refused"),
        ("data:image/png;base64,iVBOR", "logo_refused"),
        ("data:image/png,plain", "logo_refused"),
        ("https://elsewhere.example/logo.png", "logo_refused"),
        ("/api/v1/tenants/branding/logo?tenant=x&v=y", "logo_refused"),
        ("javascript:alert(1)", "logo_refused"),
        (7, "validation_failed"),
    ],
)
async def test_what_is_no_logo_is_refused_and_changes_nothing(suite: Suite, logo: Any, code: str) -> None:
    """Catalogue 114."""
    tenant = await suite.tenant("premium")
    problem = refused(await put(suite, tenant, {"name": "New", "logo": logo}), 422, code)
    assert [name for name, _ in fields(problem)] == ["logo"]
    assert (await get(suite, tenant)).headers["etag"] == '"0"'


async def test_another_tenants_logo_is_not_to_be_had(suite: Suite) -> None:
    """Catalogue 93, 112."""
    tenant, other = await suite.tenant("premium"), await suite.tenant("premium")
    theirs = fine(await put(suite, other, {"logo": data_url(PNG)}))["logo"]
    refused(await put(suite, tenant, {"logo": theirs}), 422, "logo_refused")
    mine = theirs.replace(other.slug, tenant.slug)
    refused(await put(suite, tenant, {"logo": mine}), 422, "logo_refused")
    refused(await fetched(suite, mine), 404, "logo_not_found")


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"colors": {"primary": "red"}}, "colors.primary", "color_invalid"),
        ({"colors": {"primary": "#12345"}}, "colors.primary", "color_invalid"),
        ({"colors": {"primary": "#fff;} body{display:none"}}, "colors.primary", "color_invalid"),
        ({"colors": {"shadow": "#fff"}}, "colors.shadow", "extra_forbidden"),
        ({"name": "a\r\nb"}, "name", "text_control"),
        ({"name": "x" * 201}, "name", "too_long"),
        ({"css": "body{}"}, "css", "extra_forbidden"),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_field(
    suite: Suite, body: dict[str, Any], field: str, code: str
) -> None:
    tenant = await suite.tenant("premium")
    problem = refused(await put(suite, tenant, body), 422, "validation_failed")
    assert fields(problem) == [(field, code)]


async def test_colours_that_are_hard_to_tell_apart_are_taken_and_hinted_at(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    look = fine(await put(suite, tenant, {"colors": {"text": "#777777", "background": "#ffffff"}}))
    assert look["contrasts"][0] == {
        "foreground": "text",
        "background": "background",
        "ratio": 4.48,
        "required": 4.5,
        "passes": False,
    }
    assert all(hint["passes"] for hint in look["contrasts"][1:])


def test_contrast_is_what_the_standard_says() -> None:
    black_on_white = {ColorRole.TEXT: "#000000", ColorRole.BACKGROUND: "#ffffff"}
    assert contrasts(black_on_white)[0].ratio == 21.0
    assert all(hint.passes for hint in contrasts({}))
    assert parse_color("#AbC") == "#aabbcc"


async def test_a_closed_tenant_shows_nothing(suite: Suite) -> None:
    """Catalogue 4."""
    tenant = await suite.tenant("premium")
    url = fine(await put(suite, tenant, {"name": "Mine", "logo": data_url(PNG)}))["logo"]
    body = {"reason": "A test."}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/suspend", json=body, headers=suite.operator))
    refused(await seen(suite, tenant), 404, "tenant_not_found")
    refused(await fetched(suite, url), 404, "tenant_not_found")


async def test_a_logo_of_a_look_that_is_refused_is_not_kept(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    fine(await put(suite, tenant, {"logo": data_url(PNG)}))
    late = {"logo": data_url(PNG + b"late")}
    refused(await put(suite, tenant, late, **{"If-Match": '"0"'}), 412, "precondition_failed")
    assert len(stored(suite, tenant)) == 1


async def test_logos_are_no_way_around_the_limit_of_storage(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    for _ in range(20):
        fine(await put(suite, tenant, {"logo": data_url(PNG + secrets.token_bytes(4))}))
    answer = await put(suite, tenant, {"logo": data_url(PNG)})
    refused(answer, 409, "logo_limit_exceeded")
    assert answer.headers["retry-after"] == "300"
    # What needs no new object goes on.
    fine(await put(suite, tenant, {"name": "Still", "logo": fine(await get(suite, tenant))["logo"]}))


def stored(suite: Suite, tenant: TenantHandle) -> list[Path]:
    directory = Path(urlsplit(suite.settings.storage_url).path) / "tenants" / str(tenant.id) / "branding"
    return sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)


async def test_logos_that_nobody_names_are_swept_up_and_only_those(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    pictures = [PNG + secrets.token_bytes(4) for _ in range(2)]
    for picture in pictures:
        fine(await put(suite, tenant, {"logo": data_url(picture)}))
    # As a process leaves it that is killed before it can name it.
    storage = suite.apps["tenant"].state.storage
    await storage.of(tenant.id).put(f"branding/{uuid4()}", PNG)
    application = suite.tenancy("tenant").database
    async with application.transaction(tenant.id) as session:
        jobs = (await session.scalars(select(JobRow).where(JobRow.kind == LOGO_CLEANUP))).all()
    assert [job.run_at - job.created_at > CLEANUP_AFTER - timedelta(seconds=30) for job in jobs] == [True] * 2
    cleanup = LogoCleanup(application, storage)
    job = Job(uuid4(), tenant.id, LOGO_CLEANUP, {}, 1)
    await cleanup.sweep(job)
    replaced, current, unnamed = stored(suite, tenant)
    for path in (replaced, current, unnamed):
        os.utime(path, (0, 0))
    await cleanup.sweep(job)
    assert stored(suite, tenant) == [current]
    await cleanup.sweep(job)
    assert (await fetched(suite, fine(await seen(suite, tenant))["logo"])).content == pictures[1]
