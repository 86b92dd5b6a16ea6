"""A new address counts once it has confirmed, and the old one hears of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from mis_models.links import AccountTokenRow
from tests.answers import fine, refused
from tests.auth_service.links import mails_of, reset_link, token_of
from tests.auth_service.requests import AUTH, USERS, alter, audited, sign_in
from tests.auth_service.test_mfa import age_sign_in
from tests.suite import PUBLIC_URL, Suite, TenantHandle, UserHandle


async def move(suite: Suite, by: UserHandle, email: str, who: str = "me", **also: Any) -> httpx.Response:
    return await suite.client.patch(f"{USERS}/{who}", json={"email": email, **also}, headers=by.auth)


async def confirm(suite: Suite, token: str, **options: Any) -> httpx.Response:
    return await suite.post_anonymously(f"{AUTH}/email/confirm", {"token": token}, **options)


async def newest_token(suite: Suite, tenant: TenantHandle, to: str) -> str:
    mail = [mail for mail in await mails_of(suite, tenant) if mail.to == to][-1]
    link = next(word for word in mail.text.split() if word.startswith(PUBLIC_URL))
    assert link.startswith(f"{PUBLIC_URL}/login/email?token=mis_em_")
    return token_of(link)


async def test_an_address_changes_when_the_new_one_confirms(suite: Suite) -> None:
    tenant = await suite.tenant()
    user = await suite.user(tenant)
    new = f"Moved@{tenant.slug}.example"
    answer = fine(await move(suite, user, new))
    assert answer["email"] == user.email
    fine(await sign_in(suite, tenant, email=user.email))
    assert [mail.to for mail in await mails_of(suite, tenant)] == [new, user.email]
    token = await newest_token(suite, tenant, new)
    lost = token_of(await reset_link(suite, tenant, user.email))
    fine(await confirm(suite, token), 204)
    refused(await sign_in(suite, tenant, email=user.email), 401, "invalid_credentials")
    fine(await sign_in(suite, tenant, email=new.lower()))
    found = fine(await suite.client.get(USERS, params={"q": "moved"}, headers=tenant.auth))
    assert [one["email"] for one in found] == [new]
    # Neither this link again nor one that lies in the old mailbox opens anything.
    refused(await confirm(suite, token), 400, "link_invalid")
    reset = {"token": lost, "newPassword": "Another-Horse-8-Battery"}
    refused(await suite.post_anonymously(f"{AUTH}/password/reset", reset), 400, "link_invalid")
    assert {"user.email_change_requested", "user.email_changed"} <= set(await audited(suite, tenant))


async def test_an_old_sign_in_moves_nobodys_mail(suite: Suite) -> None:
    """Catalogue 76: whoever stole an access token does not keep the account by it."""
    tenant = await suite.tenant()
    member = await suite.user(tenant)
    new = f"moved@{tenant.slug}.example"
    for by, who in ((member, "me"), (tenant.owner, str(member.id))):
        await age_sign_in(suite, tenant, by)
        refused(await move(suite, by, new, who), 403, "proof_required")
        fine(await move(suite, by, member.email, who, name="Mia Member"))
    assert await mails_of(suite, tenant) == []
    again = await suite.sign_in(tenant.slug, member.email, member.password)
    fine(await move(suite, again, new))


async def test_a_newer_request_replaces_an_older_one(suite: Suite) -> None:
    tenant = await suite.tenant()
    first, second = (f"{word}@{tenant.slug}.example" for word in ("first", "second"))
    for new in (first, second):
        fine(await move(suite, tenant.owner, new))
    refused(await confirm(suite, await newest_token(suite, tenant, first)), 400, "link_invalid")
    fine(await confirm(suite, await newest_token(suite, tenant, second)), 204)


async def test_an_address_in_use_is_refused_when_asked_for_and_when_confirmed(suite: Suite) -> None:
    tenant = await suite.tenant()
    user = await suite.user(tenant)
    refused(await move(suite, tenant.owner, user.email.upper()), 409, "email_taken")
    refused(await move(suite, tenant.owner, "no address"), 422, "validation_failed")
    wanted = f"wanted@{tenant.slug}.example"
    fine(await move(suite, user, wanted))
    await suite.user(tenant, email=wanted)
    refused(await confirm(suite, await newest_token(suite, tenant, wanted)), 409, "email_taken")


async def test_an_admin_asks_for_a_members_address_and_nobody_for_one_above(suite: Suite) -> None:
    tenant = await suite.tenant()
    admin, member = await suite.user(tenant, "admin"), await suite.user(tenant)
    new = f"new@{tenant.slug}.example"
    fine(await move(suite, admin, new, str(member.id), name="Nora New"))
    fine(await confirm(suite, await newest_token(suite, tenant, new)), 204)
    refused(await move(suite, admin, "x@y.example", str(tenant.owner.id)), 403, "permission_denied")
    visit = {"tenantId": str(tenant.id), "reason": "A test visits."}
    visited = fine(await suite.client.post(f"{AUTH}/act-as", json=visit, headers=suite.operator))
    bearer = {"Authorization": f"Bearer {visited['token']}"}
    path = f"{USERS}/{member.id}"
    answer = await suite.client.patch(path, json={"email": "x@y.example"}, headers=bearer)
    refused(answer, 403, "permission_denied")


@pytest.mark.parametrize("wrong", ["tenant", "lapsed", "purpose", "hint"])
async def test_a_token_that_is_not_right_confirms_nothing(suite: Suite, wrong: str) -> None:
    tenant, other = await suite.tenant(), await suite.tenant()
    new = f"new@{tenant.slug}.example"
    fine(await move(suite, tenant.owner, new))
    fine(await move(suite, other.owner, new))
    token, theirs = await newest_token(suite, tenant, new), await newest_token(suite, other, new)
    if wrong == "lapsed":
        past = datetime.now(UTC) - timedelta(seconds=1)
        await alter(suite, tenant, update(AccountTokenRow).values(expires_at=past))
    tried = {
        "tenant": f"{theirs.rpartition('.')[0]}.{token.rpartition('.')[2]}",
        "purpose": token_of(await reset_link(suite, tenant, tenant.owner_email)),
    }.get(wrong, token)
    headers = {"X-Tenant-Slug": other.slug} if wrong == "hint" else {}
    refused(await confirm(suite, tried, headers=headers), 400, "link_invalid")
    fine(await sign_in(suite, tenant))
