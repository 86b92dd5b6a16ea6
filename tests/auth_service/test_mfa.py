"""The second factor: set up in two steps, asked for at sign-in, each code good once, nobody guesses it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from auth_service.throttling.service import count_address_failure
from mis_models.accounts import SessionRow, UserRow
from mis_models.factors import ChallengeRow, RecoveryCodeRow, TotpFactorRow
from mis_tenancy.encryption import key_version
from tests.answers import bearer, fine, refused
from tests.auth_service.factors import (
    MFA,
    TOTP,
    App,
    as_user,
    asked,
    confirm,
    enroll,
    verify,
    with_app,
)
from tests.auth_service.links import mails_of, reset_link, token_of
from tests.auth_service.requests import (
    AUTH,
    age_counters,
    alter,
    audited,
    authority_of,
    claims,
    me,
    set_status,
    sign_in,
)
from tests.database import earlier
from tests.suite import PASSWORD, Suite, TenantHandle, UserHandle, fresh_address
from tests.tenant_service.test_encryption_keys import rotate, work_off

NEW_PASSWORD = "Another-Horse-8-Battery"


@pytest.fixture
async def app(suite: Suite) -> App:
    tenant = await suite.tenant("custom")
    return await with_app(suite, tenant, tenant.owner)


async def age_sign_in(suite: Suite, tenant: TenantHandle, user: UserHandle) -> None:
    """Let the user's sign-ins be an hour old."""
    own = update(SessionRow).where(SessionRow.user_id == user.id)
    await alter(suite, tenant, own.values(created_at=earlier(SessionRow.created_at, timedelta(hours=1))))


async def test_an_app_counts_once_it_is_confirmed(suite: Suite) -> None:
    tenant = await suite.tenant()
    first = await enroll(suite, tenant.owner)
    assert first["otpauthUri"].startswith("otpauth://totp/")
    assert first["secret"] in first["otpauthUri"]
    fine(await sign_in(suite, tenant))
    app = await with_app(suite, tenant, tenant.owner)
    assert app.secret != first["secret"]
    assert len(app.recovery_codes) == 10
    answer = await sign_in(suite, tenant)
    document = refused(answer, 401, "mfa_required")
    assert document["methods"] == ["totp", "recovery_code"]
    assert answer.headers["www-authenticate"] == "Bearer"
    signed_in = fine(await verify(suite, document["mfaToken"], code=await app.code()))
    assert signed_in.keys() == {
        *("success", "token", "tokenType", "expiresIn", "refreshToken", "tenant", "user")
    }
    assert signed_in["user"]["id"] == str(tenant.owner.id)
    fine(await me(suite, signed_in["token"]))
    standing = fine(await suite.client.get(MFA, headers=tenant.auth))
    assert (standing["totp"], standing["recoveryCodesLeft"]) == (True, 10)
    # The session in which it was set goes on.
    fine(await me(suite, tenant.owner_token))


async def test_the_secret_that_was_replaced_confirms_nothing(suite: Suite) -> None:
    tenant = await suite.tenant()
    first = await enroll(suite, tenant.owner)
    second = await enroll(suite, tenant.owner)
    stale = App(suite, tenant, tenant.owner, first["secret"], [])
    refused(await confirm(suite, tenant.owner, stale.code_at(0)), 401, "invalid_credentials")
    fresh = App(suite, tenant, tenant.owner, second["secret"], [])
    fine(await confirm(suite, tenant.owner, fresh.code_at(0)))
    refused(await confirm(suite, tenant.owner, fresh.code_at(30)), 409, "mfa_not_pending")
    answer = await as_user(suite, "POST", f"{TOTP}/enroll", tenant.owner)
    refused(answer, 409, "mfa_already_set")


async def test_parallel_enrolments_leave_one_secret(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    found = await asyncio.gather(*(enroll(suite, tenant.owner) for _ in range(8)))
    outcomes = [
        (await confirm(suite, tenant.owner, App(suite, tenant, tenant.owner, one["secret"], []).code_at(0)))
        for one in found
    ]
    assert sorted(answer.status_code for answer in outcomes).count(200) == 1


async def test_a_code_works_once(suite: Suite, app: App) -> None:
    """Catalogue 86."""
    code = await app.code()
    fine(await verify(suite, await asked(suite, app), code=code))
    refused(await verify(suite, await asked(suite, app), code=code), 401, "invalid_credentials")
    # Nor does the code of the step before, which somebody may have seen.
    earlier = await verify(suite, await asked(suite, app), code=app.code_at(-30))
    refused(earlier, 401, "invalid_credentials")


async def test_the_code_that_confirmed_is_used_up(suite: Suite) -> None:
    """Catalogue 86."""
    tenant = await suite.tenant()
    secret = (await enroll(suite, tenant.owner))["secret"]
    app = App(suite, tenant, tenant.owner, secret, [])
    code = app.code_at(0)
    fine(await confirm(suite, tenant.owner, code))
    refused(await verify(suite, await asked(suite, app), code=code), 401, "invalid_credentials")


async def test_of_parallel_tries_with_one_code_one_gets_in(suite: Suite, app: App) -> None:
    """Catalogue 86."""
    tokens = [await asked(suite, app) for _ in range(6)]
    code = await app.code()
    answers = await asyncio.gather(*(verify(suite, token, code=code) for token in tokens))
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * 5]
    codes = await asyncio.gather(
        *(verify(suite, token, recoveryCode=app.recovery_codes[0]) for token in tokens)
    )
    assert sorted(answer.status_code for answer in codes) == [200, *[401] * 5]


async def test_of_parallel_tries_with_one_token_one_gets_in(suite: Suite, app: App) -> None:
    token = await asked(suite, app)
    answers = await asyncio.gather(
        *(verify(suite, token, recoveryCode=code) for code in app.recovery_codes[:6])
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * 5]
    standing = fine(await suite.client.get(MFA, headers=app.user.auth))
    assert standing["recoveryCodesLeft"] == 9


@pytest.mark.parametrize("seconds", [-120, -90, 120, 3_600])
async def test_a_code_of_another_time_is_wrong(suite: Suite, app: App, seconds: int) -> None:
    """Catalogue 86."""
    answer = await verify(suite, await asked(suite, app), code=app.code_at(seconds))
    refused(answer, 401, "invalid_credentials")


async def test_a_code_of_somebody_else_is_wrong(suite: Suite, app: App) -> None:
    """Catalogue 86."""
    colleague = await with_app(suite, app.tenant, await suite.user(app.tenant))
    token = await asked(suite, app)
    refused(await verify(suite, token, code=colleague.code_at(0)), 401, "invalid_credentials")
    foreign = colleague.recovery_codes[0]
    refused(await verify(suite, token, recoveryCode=foreign), 401, "invalid_credentials")
    fine(await verify(suite, token, code=await app.code()))


@pytest.mark.parametrize("shown", [{}, {"code": "123456", "recoveryCode": "AAAA"}, {"code": None}])
async def test_exactly_one_code_is_shown(suite: Suite, app: App, shown: dict[str, Any]) -> None:
    refused(await verify(suite, await asked(suite, app), **shown), 422, "validation_failed")


@pytest.mark.parametrize(
    "code", ["", "abcdef", "12345", "1234567", "\uff11\uff12\uff13\uff14\uff15\uff16", "' or 1=1"]
)
async def test_what_is_no_code_is_a_wrong_code(suite: Suite, app: App, code: str) -> None:
    token = await asked(suite, app)
    for shown in ({"code": code}, {"recoveryCode": code}):
        refused(await verify(suite, token, **shown), 401, "invalid_credentials")


async def test_guessing_is_throttled_for_the_account_and_a_password_starts_nothing_anew(
    suite: Suite, app: App
) -> None:
    """Catalogue 86."""
    for _ in range(10):
        refused(await verify(suite, await asked(suite, app), code="000000"), 401, "invalid_credentials")
    token = await asked(suite, app)
    answer = await verify(suite, token, code=await app.code())
    refused(answer, 429, "login_throttled")
    assert int(answer.headers["retry-after"]) > 0
    refused(await verify(suite, token, recoveryCode=app.recovery_codes[0]), 429, "login_throttled")
    await age_counters(suite, timedelta(hours=1))
    fine(await verify(suite, token, code=await app.code()))


async def test_guesses_from_elsewhere_do_not_lock_a_known_network_out(suite: Suite, app: App) -> None:
    home = fresh_address()
    token = await asked(suite, app, address=home)
    fine(await verify(suite, token, address=home, code=await app.code()))
    for _ in range(12):
        await verify(suite, await asked(suite, app), code="000000")
    token = await asked(suite, app, address=home)
    fine(await verify(suite, token, address=home, code=await app.code()))


async def test_a_recovery_code_works_once_however_it_is_typed(suite: Suite, app: App) -> None:
    """Catalogue 86."""
    typed = app.recovery_codes[0].lower().replace("-", "")
    fine(await verify(suite, await asked(suite, app), recoveryCode=typed))
    again = await verify(suite, await asked(suite, app), recoveryCode=app.recovery_codes[0])
    refused(again, 401, "invalid_credentials")
    own = RecoveryCodeRow.user_id == app.user.id
    async with suite.database.transaction(app.tenant.id) as session:
        for row in await session.scalars(select(RecoveryCodeRow).where(own)):
            await session.delete(row)
    assert refused(await sign_in(suite, app.tenant), 401, "mfa_required")["methods"] == ["totp"]


async def test_a_token_is_good_for_one_sign_in(suite: Suite, app: App) -> None:
    token = await asked(suite, app)
    fine(await verify(suite, token, recoveryCode=app.recovery_codes[0]))
    refused(await verify(suite, token, recoveryCode=app.recovery_codes[1]), 401, "token_invalid")
    assert fine(await suite.client.get(MFA, headers=app.user.auth))["recoveryCodesLeft"] == 9


async def test_a_wrong_token_of_any_kind_is_one_refusal(suite: Suite, app: App) -> None:
    """Catalogue 71, 86."""
    good, other = await asked(suite, app), await suite.tenant()
    expired = await asked(suite, app)
    past = datetime.now(UTC) - timedelta(seconds=1)
    theirs = ChallengeRow.token_hash != b""
    await alter(suite, app.tenant, update(ChallengeRow).where(theirs).values(expires_at=past))
    reset = token_of(await reset_link(suite, app.tenant, app.user.email))
    wrong = [
        *("", "x", good[:-1], good + "A", good.swapcase(), good.replace("mis_mf_", "mis_pw_")),
        *(expired, reset, app.user.token, app.user.refresh_token, "é" * 50),
    ]
    documents = []
    for token in wrong:
        document = refused(await verify(suite, token, code=await app.code()), 401, "token_invalid")
        documents.append({name: document[name] for name in ("detail", "title", "type")})
    assert all(document == documents[0] for document in documents)
    fresh = await asked(suite, app)
    for sources in ({"X-Tenant-Slug": other.slug}, {"X-Tenant-ID": str(other.id)}):
        body = {"mfaToken": fresh, "code": await app.code()}
        answer = await suite.post_anonymously(f"{TOTP}/verify", body, headers=sources)
        refused(answer, 401, "token_invalid")
    answer = await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": fresh})
    refused(answer, 401, "token_invalid")
    refused(await me(suite, fresh), 401, "token_invalid")


async def test_tokens_that_are_made_up_make_their_network_wait(suite: Suite, app: App) -> None:
    address, token = fresh_address(), await asked(suite, app)
    async with authority_of(suite).transaction(None) as session:
        for _ in range(99):
            await count_address_failure(session, address)
    refused(await verify(suite, "made-up", address=address, code="123456"), 401, "token_invalid")
    answer = await verify(suite, token, address=address, code=await app.code())
    refused(answer, 429, "login_throttled")


async def test_a_changed_password_ends_what_its_predecessor_began(suite: Suite, app: App) -> None:
    token = await asked(suite, app)
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    fine(await as_user(suite, "POST", f"{AUTH}/password/change", app.user, body), 204)
    refused(await verify(suite, token, code=await app.code()), 401, "token_invalid")
    link = await reset_link(suite, app.tenant, app.user.email)
    token = await asked(suite, app, password=NEW_PASSWORD)
    reset = {"token": token_of(link), "newPassword": PASSWORD}
    fine(await suite.post_anonymously(f"{AUTH}/password/reset", reset), 204)
    refused(await verify(suite, token, code=await app.code()), 401, "token_invalid")
    # Whoever reads the mail has the password, and not the second factor.
    await asked(suite, app)


async def test_somebody_who_was_disabled_meanwhile_stays_out(suite: Suite, app: App) -> None:
    colleague = await with_app(suite, app.tenant, await suite.user(app.tenant))
    token = await asked(suite, colleague)
    own = update(UserRow).where(UserRow.id == colleague.user.id)
    await alter(suite, app.tenant, own.values(status="disabled"))
    answer = await verify(suite, token, code=await colleague.code())
    refused(answer, 401, "invalid_credentials")


async def test_the_owner_of_an_ending_tenant_passes_the_second_factor_too(suite: Suite, app: App) -> None:
    member = await with_app(suite, app.tenant, await suite.user(app.tenant))
    waiting = await asked(suite, member)
    await set_status(suite, app.tenant, "pending_deletion", raise_epoch=True)
    token = await asked(suite, app)
    signed_in = fine(await verify(suite, token, code=await app.code()))
    assert claims(signed_in["token"])["restricted"] is True
    refused(await sign_in(suite, app.tenant, email=member.user.email), 403, "tenant_pending_deletion")
    answer = await verify(suite, waiting, code=await member.code())
    refused(answer, 403, "tenant_pending_deletion")
    assert "login.tenant_pending_deletion" in await audited(suite, app.tenant)
    # The narrow token leaves the second factor alone.
    answer = await suite.client.get(MFA, headers=bearer(signed_in["token"]))
    refused(answer, 403, "permission_denied")


@pytest.mark.parametrize("way", ["code", "recoveryCode", "password"])
async def test_removing_takes_a_fresh_proof(suite: Suite, app: App, way: str) -> None:
    await age_sign_in(suite, app.tenant, app.user)
    right = {"code": await app.code(), "recoveryCode": app.recovery_codes[0], "password": PASSWORD}
    refused(await as_user(suite, "DELETE", TOTP, app.user), 403, "proof_required")
    wrong = await as_user(suite, "DELETE", TOTP, app.user, {way: "000000"})
    refused(wrong, 401, "invalid_credentials")
    both = await as_user(suite, "DELETE", TOTP, app.user, right)
    refused(both, 422, "validation_failed")
    fine(await as_user(suite, "DELETE", TOTP, app.user, {way: right[way]}), 204)
    fine(await sign_in(suite, app.tenant))
    refused(await as_user(suite, "DELETE", TOTP, app.user, {"password": PASSWORD}), 404, "mfa_not_set")
    async with suite.database.transaction(app.tenant.id) as session:
        assert (await session.scalars(select(TotpFactorRow))).all() == []
        assert (await session.scalars(select(RecoveryCodeRow))).all() == []


async def test_enrolling_takes_a_fresh_proof_too(suite: Suite) -> None:
    """Whoever has stolen an access token must not be able to lock its owner out."""
    tenant = await suite.tenant()
    await age_sign_in(suite, tenant, tenant.owner)
    refused(await as_user(suite, "POST", f"{TOTP}/enroll", tenant.owner), 403, "proof_required")
    wrong = await as_user(suite, "POST", f"{TOTP}/enroll", tenant.owner, {"password": "wrong"})
    refused(wrong, 401, "invalid_credentials")
    fine(await as_user(suite, "POST", f"{TOTP}/enroll", tenant.owner, {"password": PASSWORD}))


async def test_a_recent_sign_in_is_a_fresh_proof(suite: Suite, app: App) -> None:
    fine(await as_user(suite, "DELETE", TOTP, app.user), 204)
    fine(await sign_in(suite, app.tenant))
    mails = [mail.text for mail in await mails_of(suite, app.tenant)]
    assert sum("app was added" in text for text in mails) == 1
    assert sum("app was removed" in text for text in mails) == 1
    changes = [action for action in await audited(suite, app.tenant) if action.startswith("mfa.")]
    assert changes == ["mfa.totp_enrolled", "mfa.totp_added", "mfa.totp_removed"]


@pytest.mark.parametrize("way", ["code", "password"])
async def test_whoever_has_the_token_alone_cannot_guess_the_proof(suite: Suite, app: App, way: str) -> None:
    for _ in range(10):
        answer = await as_user(suite, "DELETE", TOTP, app.user, {way: "000000"})
        refused(answer, 401, "invalid_credentials")
    answer = await as_user(suite, "DELETE", TOTP, app.user, {way: "000000"})
    refused(answer, 429, "login_throttled")
    assert "mfa.proof_failed" in await audited(suite, app.tenant)


async def test_confirming_cannot_be_guessed_either(suite: Suite) -> None:
    tenant = await suite.tenant()
    await enroll(suite, tenant.owner)
    for _ in range(10):
        refused(await confirm(suite, tenant.owner, "000000"), 401, "invalid_credentials")
    refused(await confirm(suite, tenant.owner, "000000"), 429, "login_throttled")


async def test_new_recovery_codes_make_the_old_ones_worthless(suite: Suite, app: App) -> None:
    answer = await as_user(suite, "POST", f"{MFA}/recovery-codes", app.user, {"code": await app.code()})
    codes = fine(answer)["recoveryCodes"]
    assert not set(codes) & set(app.recovery_codes)
    old = await verify(suite, await asked(suite, app), recoveryCode=app.recovery_codes[0])
    refused(old, 401, "invalid_credentials")
    fine(await verify(suite, await asked(suite, app), recoveryCode=codes[0]))
    await age_sign_in(suite, app.tenant, app.user)
    refused(await as_user(suite, "POST", f"{MFA}/recovery-codes", app.user), 403, "proof_required")
    plain = await suite.user(app.tenant)
    refused(await as_user(suite, "POST", f"{MFA}/recovery-codes", plain), 404, "mfa_not_set")


async def test_an_admin_helps_a_member_who_lost_the_app(suite: Suite, app: App) -> None:
    admin, member = await suite.user(app.tenant, "admin"), await suite.user(app.tenant)
    lost = await with_app(suite, app.tenant, member)
    other = await suite.tenant()
    of_member = {"userId": str(member.id)}
    viewer = await suite.user(app.tenant, "viewer")
    refused(await as_user(suite, "DELETE", TOTP, viewer, params=of_member), 403, "permission_denied")
    above = await as_user(suite, "DELETE", TOTP, admin, params={"userId": str(app.user.id)})
    assert refused(above, 403, "permission_denied")["required"] == "owner"
    foreign = await as_user(suite, "DELETE", TOTP, admin, params={"userId": str(other.owner.id)})
    refused(foreign, 404, "user_not_found")
    unset = await as_user(suite, "DELETE", TOTP, admin, params={"userId": str(viewer.id)})
    refused(unset, 404, "mfa_not_set")
    fine(await as_user(suite, "DELETE", TOTP, admin, params=of_member), 204)
    fine(await sign_in(suite, app.tenant, email=member.email))
    fine(await me(suite, lost.user.token))
    assert "mfa.totp_reset" in await audited(suite, app.tenant)
    told = [mail for mail in await mails_of(suite, app.tenant) if mail.to == member.email]
    assert "An administrator removed" in told[-1].text
    await age_sign_in(suite, app.tenant, admin)
    refused(await as_user(suite, "DELETE", TOTP, admin, params=of_member), 403, "proof_required")


async def test_an_operator_who_visits_cannot_touch_second_factors(suite: Suite, app: App) -> None:
    """Catalogue 76."""
    visit = {"tenantId": str(app.tenant.id), "reason": "A test visits."}
    token = fine(await suite.client.post(f"{AUTH}/act-as", json=visit, headers=suite.operator))["token"]
    member = await with_app(suite, app.tenant, await suite.user(app.tenant))
    for method, path in (
        *(("GET", MFA), ("POST", f"{TOTP}/enroll"), ("DELETE", TOTP)),
        *(("DELETE", f"{TOTP}?userId={member.user.id}"), ("POST", f"{MFA}/recovery-codes")),
    ):
        for headers in (bearer(token), suite.operator):
            answer = await suite.client.request(method, path, headers=headers)
            refused(answer, 403, "permission_denied")


async def test_the_database_holds_neither_secret_nor_code_nor_token(suite: Suite, app: App) -> None:
    token = await asked(suite, app)
    held = []
    async with suite.database.transaction(app.tenant.id) as session:
        for table in ("totp_factors", "recovery_codes", "challenges", "audit_logs", "jobs"):
            rows = await session.execute(
                text(f"select t::text from {table} t"),  # noqa: S608  # names of our tables
                execution_options={"unscoped": True},
            )
            held.append("".join(rows.scalars()))
    everything = "".join(held)
    assert str(app.user.id) in everything
    for secret in (app.secret, *app.recovery_codes, token):
        assert secret not in everything
        assert secret.encode().hex() not in everything


async def test_a_secret_that_was_moved_to_another_user_opens_nothing(suite: Suite, app: App) -> None:
    thief = await with_app(suite, app.tenant, await suite.user(app.tenant))
    async with suite.database.transaction(app.tenant.id) as session:
        theirs = await session.get_one(TotpFactorRow, (app.tenant.id, thief.user.id))
        own = await session.get_one(TotpFactorRow, (app.tenant.id, app.user.id))
        own.secret, own.last_step = theirs.secret, None
    answer = await verify(suite, await asked(suite, app), code=thief.code_at(0))
    refused(answer, 401, "invalid_credentials")


async def test_a_secret_is_under_the_newest_key_after_a_rotation(suite: Suite, app: App) -> None:
    fine(await rotate(suite, app.tenant), 202)
    await work_off(suite, app.tenant.id)
    async with suite.database.transaction(app.tenant.id) as session:
        factor = await session.get_one(TotpFactorRow, (app.tenant.id, app.user.id))
        assert key_version(factor.secret) == 2
    fine(await verify(suite, await asked(suite, app), code=await app.code()))


async def test_a_second_factor_in_one_tenant_is_none_in_another(suite: Suite, app: App) -> None:
    """The same address in two tenants is two users."""
    other = await suite.tenant()
    twin = await with_app(suite, other, await suite.user(other, email=app.user.email))
    token = await asked(suite, app)
    refused(await verify(suite, token, code=twin.code_at(0)), 401, "invalid_credentials")
    foreign = await asked(suite, twin)
    refused(await verify(suite, foreign, recoveryCode=app.recovery_codes[0]), 401, "invalid_credentials")


async def test_the_password_is_held_while_its_token_is_made(suite: Suite, app: App) -> None:
    """Whoever verified a password that is replaced a moment later gets no token by it."""
    authority = authority_of(suite)
    async with authority.tenant_transaction(app.tenant.id) as session:
        row = await session.get_one(UserRow, (app.tenant.id, app.user.id))
        verified = row.password_hash

    async def change_meanwhile(encoded: str | None, password: str) -> bool:
        fresh = await authority.passwords.hash(NEW_PASSWORD)
        await alter(suite, app.tenant, update(UserRow).values(password_hash=fresh))
        return encoded == verified

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(authority.passwords), "verify", lambda _, *given: change_meanwhile(*given))
        refused(await sign_in(suite, app.tenant), 401, "invalid_credentials")
    async with suite.database.transaction(app.tenant.id) as session:
        assert (await session.scalars(select(ChallengeRow))).all() == []
