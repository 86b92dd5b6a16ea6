"""Seeding the demo beside what somebody has done to it since the last run."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from rich.progress import Progress

from mis_cli.demo.seed import _Seeder, _Wanted
from tests.answers import fine
from tests.purging import purge
from tests.suite import OPERATOR_EMAIL, PASSWORD, Suite, fresh_address
from tests.tenant_service.requests import TENANTS, new_slug

USERS = "/api/v1/users"


@pytest.fixture
async def seeder(suite: Suite) -> AsyncIterator[_Seeder]:
    async with suite.client_at(fresh_address()) as client:
        seeder = _Seeder(client, Progress(disable=True))
        await seeder.sign_in(OPERATOR_EMAIL, suite.operator_password)
        yield seeder


async def test_a_demo_that_is_there_is_left_as_it_is(suite: Suite, seeder: _Seeder) -> None:
    want = _Wanted(new_slug("demo"), "Demo", "basic", 4)
    first = await seeder.make(want, PASSWORD)
    assert await seeder.make(want, PASSWORD) == first
    owner = await suite.sign_in(want.slug, want.owner_email, PASSWORD)
    assert len(fine(await suite.client.get(USERS, headers=owner.auth))) == 4


async def test_a_deleted_a_changed_and_a_purged_demo_tenant_are_no_reason_not_to_start(
    suite: Suite, seeder: _Seeder
) -> None:
    want = _Wanted(new_slug("demo"), "Demo", "basic", 4)
    made = await seeder.make(want, PASSWORD)
    assert made is not None
    owner = await suite.sign_in(want.slug, want.owner_email, PASSWORD)
    change = {"currentPassword": PASSWORD, "newPassword": "Another-Staple-8-Horse"}
    fine(await suite.client.post("/api/v1/auth/password/change", json=change, headers=owner.auth), 204)
    assert await seeder.make(want, PASSWORD) == made
    fine(await suite.client.delete(f"{TENANTS}/{made.id}", headers=suite.operator), 202)
    assert await seeder.make(want, PASSWORD) == made
    fine(await suite.client.post(f"{TENANTS}/{made.id}/restore", headers=suite.operator))
    await purge(suite, UUID(made.id))
    assert await seeder.make(want, PASSWORD) is None
