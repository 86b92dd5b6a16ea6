"""What a tenant's plan and configuration say of its files, and what becomes of files when those change."""

import pytest

from mis_tenancy.plans import GIB
from tests.answers import fine, refused
from tests.suite import Suite
from tests.tenant_service.plan_moves import configure, hold, migrate
from tests.user_service.media import MEDIA, NOTHING, Held, content, held, in_pieces, send, stored


async def test_a_smaller_plan_keeps_all_files_and_takes_none_until_there_is_room(suite: Suite) -> None:
    """Catalogue 96."""
    tenant = await suite.tenant("premium")
    kept, gone = await stored(suite, tenant), await stored(suite, tenant)
    await hold(suite, tenant, storage_bytes=11 * GIB)
    over = refused(await migrate(suite, tenant, "basic"), 409, "over_plan_limits")
    assert [(one["limit"], one["used"], one["new"]) for one in over["limits"]] == [
        ("storage", 11 * GIB, 10 * GIB)
    ]
    fine(await send(suite, tenant), 201)
    fine(await migrate(suite, tenant, "basic", onOverLimit="freeze"))
    for body in (b"x", in_pieces(b"x")):
        full = refused(await send(suite, tenant, body), 409, "limit_exceeded")
        assert (full["limit"], full["used"]) == (10 * GIB, 11 * GIB + 5)
    assert await held(suite, tenant) == Held(11 * GIB + 5, 3, 3, 0, 3)
    assert (await content(suite, tenant, kept["id"])).content == b"hello"
    # What is deleted makes room, and with enough of it there are new files again.
    fine(await suite.client.delete(f"{MEDIA}/{gone['id']}", headers=tenant.auth), 204)
    refused(await send(suite, tenant), 409, "limit_exceeded")
    await hold(suite, tenant, storage_bytes=10 * GIB - 5)
    fine(await send(suite, tenant), 201)
    refused(await send(suite, tenant, b"x"), 409, "limit_exceeded")


@pytest.mark.parametrize(
    ("kind", "status"), [("Image/PNG; x=1", 201), ("text/plain", 201), ("text/html", 415)]
)
async def test_a_tenant_says_which_types_it_takes(suite: Suite, kind: str, status: int) -> None:
    """Catalogue 114."""
    tenant = await suite.tenant("custom")
    await configure(suite, tenant, "file_upload.allowed_types", ["image/*", "TEXT/plain"])
    await suite.tenancy().feed.poll()
    answer = await send(suite, tenant, Content_Type=kind)
    assert answer.status_code == status, answer.text
    if status == 415:
        assert refused(answer, 415, "file_type_refused")["allowed"] == ["image/*", "TEXT/plain"]
        assert await held(suite, tenant) == NOTHING
