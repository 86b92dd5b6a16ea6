"""Owners who have lost app and recovery codes: an operator begins, a day passes, and they may call it off."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import update

from mis_models.factors import TotpFactorRow
from mis_tenancy.identifiers import new_id
from tests.answers import bearer, eventually, fine, refused
from tests.auth_service.factors import MFA, App, as_user, asked, verify, with_app
from tests.auth_service.links import mails_of
from tests.auth_service.requests import AUTH, alter, audited, claims, me, platform_events, refresh, sign_in
from tests.suite import Suite, TenantHandle

RESETS = f"{AUTH}/operator/mfa-resets"
REASON = "Ticket 4712: called back at the number of the contract."


async def begin(suite: Suite, tenant: TenantHandle, email: str, **fields: Any) -> httpx.Response:
    body = {"tenantId": str(tenant.id), "email": email, "reason": REASON} | fields
    return await suite.client.post(RESETS, json=body, headers=suite.operator)


async def last_mail_to(suite: Suite, tenant: TenantHandle, email: str) -> str:
    """Return the words of the newest mail to the address, in one line."""
    text = [mail.text for mail in await mails_of(suite, tenant) if mail.to == email][-1]
    return " ".join(text.split())


async def let_a_day_pass(suite: Suite, app: App) -> None:
    own = update(TotpFactorRow).where(TotpFactorRow.user_id == app.user.id)
    await alter(suite, app.tenant, own.values(reset_at=datetime.now(UTC) - timedelta(seconds=1)))


async def test_an_owner_who_lost_everything_signs_in_after_a_day(suite: Suite) -> None:
    """Catalogue 86, 97."""
    tenant = await suite.tenant()
    app = await with_app(suite, tenant, tenant.owner)
    begun = fine(await begin(suite, tenant, tenant.owner_email.upper()), 202)
    at = datetime.fromisoformat(begun["takesEffectAt"])
    assert timedelta(hours=23, minutes=58) < at - datetime.now(UTC) <= timedelta(hours=24)
    # Until then nothing is different.
    await asked(suite, app)
    standing = fine(await as_user(suite, "GET", MFA, tenant.owner))
    assert (standing["totp"], standing["resetAt"]) == (True, begun["takesEffectAt"])
    await let_a_day_pass(suite, app)
    signed_in = fine(await sign_in(suite, tenant, email=tenant.owner_email))
    standing = fine(await suite.client.get(MFA, headers=bearer(signed_in["token"])))
    assert (standing["totp"], standing["recoveryCodesLeft"], standing["resetAt"]) == (False, 0, None)
    # Whoever has the lost device may have signed in with it.
    await eventually(lambda: me(suite, tenant.owner_token), lambda answer: answer.status_code == 401)
    refused(await refresh(suite, tenant.owner.refresh_token), 401, "token_revoked")
    fine(await sign_in(suite, tenant, email=tenant.owner_email))


async def test_a_reset_stands_in_both_logs_and_in_the_owners_mail(suite: Suite) -> None:
    """Catalogue 97."""
    tenant = await suite.tenant()
    app = await with_app(suite, tenant, tenant.owner)
    colleague = await suite.user(tenant, "owner")
    fine(await begin(suite, tenant, tenant.owner_email), 202)
    *_, noted = await platform_events(suite, "operator.mfa_reset")
    operator = claims(suite.operator_token)["sub"]
    assert (noted.tenant_id, str(noted.actor), noted.reason) == (tenant.id, operator, REASON)
    assert noted.resource == f"user:{tenant.owner.id}"
    for email in (tenant.owner_email, colleague.email):
        assert REASON in await last_mail_to(suite, tenant, email)
    await let_a_day_pass(suite, app)
    fine(await sign_in(suite, tenant, email=tenant.owner_email))
    actions = await audited(suite, tenant)
    assert [one for one in actions if "mfa" in one and one != "mfa.totp_enrolled"] == [
        "mfa.totp_added",
        "operator.mfa_reset",
        "mfa.totp_reset",
    ]
    assert "is removed" in await last_mail_to(suite, tenant, tenant.owner_email)


async def test_whoever_shows_the_second_factor_calls_the_reset_off(suite: Suite) -> None:
    """Catalogue 86."""
    tenant = await suite.tenant()
    app = await with_app(suite, tenant, tenant.owner)
    fine(await begin(suite, tenant, tenant.owner_email), 202)
    fine(await verify(suite, await asked(suite, app), code=await app.code()))
    assert (await audited(suite, tenant)).count("mfa.reset_called_off") == 1
    refused(await sign_in(suite, tenant, email=tenant.owner_email), 401, "mfa_required")
    fine(await begin(suite, tenant, tenant.owner_email), 202)
    renewed = {"recoveryCode": app.recovery_codes[0]}
    fine(await as_user(suite, "POST", f"{MFA}/recovery-codes", tenant.owner, renewed))
    assert fine(await as_user(suite, "GET", MFA, tenant.owner))["resetAt"] is None


async def test_a_wrong_password_does_not_take_the_app_away(suite: Suite) -> None:
    """Catalogue 79."""
    tenant = await suite.tenant()
    app = await with_app(suite, tenant, tenant.owner)
    fine(await begin(suite, tenant, tenant.owner_email), 202)
    await let_a_day_pass(suite, app)
    wrong = await sign_in(suite, tenant, email=tenant.owner_email, password="wrong")
    refused(wrong, 401, "invalid_credentials")
    assert fine(await as_user(suite, "GET", MFA, tenant.owner))["totp"] is True


async def test_only_owners_with_an_app_are_reset_and_the_tenant_sees_every_try(suite: Suite) -> None:
    """Catalogue 97."""
    tenant, other = await suite.tenant(), await suite.tenant()
    admin = await suite.user(tenant, "admin")
    await with_app(suite, tenant, admin)
    await with_app(suite, other, other.owner)
    tried = [admin.email, tenant.owner_email, other.owner_email, "nobody@nowhere.example", "no address"]
    answers = [refused(await begin(suite, tenant, email), 404, "mfa_not_set") for email in tried]
    assert len({str(answer | {"requestId": ""}) for answer in answers}) == 1
    assert (await audited(suite, tenant)).count("operator.mfa_reset") == len(tried)
    refused(await begin(suite, tenant, "x", tenantId=str(new_id())), 404, "tenant_not_found")
    refused(await begin(suite, tenant, "x", reason=" a "), 422, "validation_failed")


async def test_members_and_visiting_operators_begin_no_reset(suite: Suite) -> None:
    """Catalogue 76."""
    tenant = await suite.tenant()
    body = {"tenantId": str(tenant.id), "email": tenant.owner_email, "reason": REASON}
    visit = fine(
        await suite.client.post(
            f"{AUTH}/act-as", json={"tenantId": str(tenant.id), "reason": "Visit."}, headers=suite.operator
        )
    )
    for token in (tenant.owner_token, visit["token"]):
        answer = await suite.client.post(RESETS, json=body, headers={"Authorization": f"Bearer {token}"})
        assert refused(answer, 403, "permission_denied")["required"] == "operator"
    assert UUID(visit["tenant"]["id"]) == tenant.id
