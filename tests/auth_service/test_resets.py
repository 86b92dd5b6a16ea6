"""Forgotten passwords: nobody learns who has an account, and a link serves its receiver once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, update

from auth_service.passwords.forgetting import MOST_OF_ACCOUNT
from mis_accounts.reset_asks import RESET_MAIL
from mis_models.links import AccountTokenRow
from mis_models.work import JobRow
from tests.answers import fine, refused
from tests.auth_service.links import accept, ask_for_reset, mails_of, reset_link, token_of, write_resets
from tests.auth_service.requests import AUTH, alter, audited, refresh, sign_in
from tests.suite import PUBLIC_URL, Suite, TenantHandle

NEW = "Another-Horse-8-Battery"


async def reset(suite: Suite, token: str, password: str = NEW, **options: Any) -> httpx.Response:
    body = {"token": token, "newPassword": password}
    return await suite.post_anonymously(f"{AUTH}/password/reset", body, **options)


async def test_a_mailed_link_sets_a_new_password_and_ends_every_session(suite: Suite) -> None:
    tenant = await suite.tenant()
    token = token_of(await reset_link(suite, tenant, tenant.owner_email))
    fine(await reset(suite, token), 204)
    refused(await refresh(suite, tenant.owner.refresh_token), 401, "token_revoked")
    refused(await sign_in(suite, tenant), 401, "invalid_credentials")
    fine(await sign_in(suite, tenant, password=NEW))
    refused(await reset(suite, token), 400, "link_invalid")
    told = (await mails_of(suite, tenant))[-1]
    assert told.to == tenant.owner_email
    assert told.subject.endswith("was changed")
    assert PUBLIC_URL not in told.text + told.html
    assert {"password.forgotten", "password.reset", "password.reset_refused"} <= set(
        await audited(suite, tenant)
    )


async def test_known_and_unknown_addresses_are_answered_and_worked_on_alike(suite: Suite) -> None:
    """Catalogue 80."""
    tenant = await suite.tenant()
    disabled = await suite.user(tenant)
    path = f"/api/v1/users/{disabled.id}"
    fine(await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth))
    answers = [
        await ask_for_reset(suite, tenant, email)
        for email in (tenant.owner_email.upper(), "nobody@nowhere.example", disabled.email, "no address")
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"")}
    async with suite.database.transaction(tenant.id) as session:
        jobs = (await session.scalars(select(JobRow).where(JobRow.kind == RESET_MAIL))).all()
    # The request left the same behind for each of them, and no address in clear.
    assert len(jobs) == len(answers)
    assert len({tuple(sorted(job.payload)) for job in jobs}) == 1
    assert tenant.owner_email not in str([job.payload for job in jobs])
    await write_resets(suite, tenant)
    assert [mail.to for mail in await mails_of(suite, tenant)] == [tenant.owner_email]


async def test_an_unknown_tenant_is_answered_like_a_known_one(suite: Suite) -> None:
    """Catalogue 80."""
    body = {"email": "a@b.example", "tenantSlug": "no-such-tenant"}
    fine(await suite.post_anonymously(f"{AUTH}/password/forgot", body), 202)
    refused(
        await suite.post_anonymously(f"{AUTH}/password/forgot", {"email": "a@b.c"}), 400, "tenant_required"
    )


async def test_one_address_gets_a_few_mails_an_hour_and_the_answer_does_not_say_so(suite: Suite) -> None:
    tenant = await suite.tenant()
    for _ in range(MOST_OF_ACCOUNT + 2):
        fine(await ask_for_reset(suite, tenant, tenant.owner_email), 202)
    await write_resets(suite, tenant)
    assert len(await mails_of(suite, tenant)) == MOST_OF_ACCOUNT


@pytest.mark.parametrize("wrong", ["secret", "tenant", "lapsed", "invitation", "empty", "hint"])
async def test_a_token_that_is_not_right_sets_nothing(suite: Suite, wrong: str) -> None:
    tenant, other = await suite.tenant(), await suite.tenant()
    token = token_of(await reset_link(suite, tenant, tenant.owner_email))
    theirs = token_of(await reset_link(suite, other, other.owner_email))
    (head, _, secret), (their_head, _, their_secret) = token.rpartition("."), theirs.rpartition(".")
    if wrong == "lapsed":
        past = datetime.now(UTC) - timedelta(seconds=1)
        await alter(suite, tenant, update(AccountTokenRow).values(expires_at=past))
    tried = {
        "secret": f"{head}.{their_secret}",
        "tenant": f"{their_head}.{secret}",
        "invitation": token.replace("mis_pw_", "mis_in_"),
        "empty": "",
    }.get(wrong, token)
    headers = {"X-Tenant-Slug": other.slug} if wrong == "hint" else {}
    refused(await reset(suite, tried, headers=headers), 400, "link_invalid")
    fine(await sign_in(suite, tenant))


async def test_the_policy_is_named_rule_by_rule_and_the_link_stays_good(suite: Suite) -> None:
    """Catalogue 85."""
    tenant = await suite.tenant()
    token = token_of(await reset_link(suite, tenant, tenant.owner_email))
    document = refused(await reset(suite, token, "short"), 422, "password_policy")
    assert {error["field"] for error in document["errors"]} == {"newPassword"}
    assert {"min_length", "require_uppercase", "require_numbers"} == {
        error["code"] for error in document["errors"]
    }
    fine(await reset(suite, token), 204)


async def test_of_parallel_resets_by_one_link_one_counts(suite: Suite) -> None:
    tenant = await suite.tenant()
    token = token_of(await reset_link(suite, tenant, tenant.owner_email))
    answers = await asyncio.gather(*(reset(suite, token, f"{NEW}-{number}") for number in range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 400, 400, 400]


async def test_using_one_link_makes_the_others_worthless(suite: Suite) -> None:
    tenant = await suite.tenant()
    first, second = [token_of(await reset_link(suite, tenant, tenant.owner_email)) for _ in range(2)]
    fine(await reset(suite, second), 204)
    refused(await reset(suite, first), 400, "link_invalid")


async def test_a_disabled_user_cannot_use_the_link_they_have(suite: Suite) -> None:
    tenant = await suite.tenant()
    user = await suite.user(tenant)
    token = token_of(await reset_link(suite, tenant, user.email))
    path = f"/api/v1/users/{user.id}"
    fine(await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth))
    refused(await reset(suite, token), 400, "link_invalid")


@pytest.mark.parametrize("forged", ["Host", "X-Forwarded-Host"])
async def test_the_link_leads_to_the_configured_address_and_names_stay_text(
    suite: Suite, forged: str
) -> None:
    """Catalogue 126, 127."""
    tenant = await suite.tenant(name="<b>Evil</b> https://evil.example")
    link = await reset_link(suite, tenant, tenant.owner_email, headers={forged: "evil.example"})
    assert link.startswith(f"{PUBLIC_URL}/login/reset?token=mis_pw_")
    mail = (await mails_of(suite, tenant))[-1]
    assert "<b>" not in mail.html
    assert "https://evil.example" not in mail.text + mail.html


async def test_an_invited_owner_whose_link_is_lost_gets_in_by_a_new_password(suite: Suite) -> None:
    slug = f"t-{uuid4().hex[:12]}"
    email = f"wanda@{slug}.example"
    body = {"name": "Acme", "slug": slug, "owner": {"email": email}}
    made = fine(await suite.client.post("/api/v1/tenants", json=body, headers=suite.operator), 201)
    tenant = TenantHandle(UUID(made["id"]), slug, "basic", None, made)  # type: ignore[arg-type]  # nobody is in yet
    token = token_of(await reset_link(suite, tenant, email))
    fine(await reset(suite, token), 204)
    fine(await sign_in(suite, tenant, email=email, password=NEW))
    refused(await accept(suite, token_of(made["ownerInvitation"])), 400, "invitation_invalid")
