"""The second factor of operators: what it asks, what it takes, and how it is changed."""

import asyncio
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from sqlalchemy import update

from auth_service.operator_mfa.secrets import purpose_of
from auth_service.operator_mfa.waiting import LIFETIME, WaitingToken, new_waiting_token, parse_waiting_token
from auth_service.operators.repository import find_by_email
from mis_models.platform import OperatorRow, OperatorSessionRow
from mis_tenancy.identifiers import new_id
from tests.answers import fine, refused
from tests.auth_service.factors import verify
from tests.auth_service.operators import (
    MFA,
    TOTP,
    Staff,
    alter_operator,
    as_operator,
    enroll_operator,
    new_operator,
    operator_asked,
    operator_login,
    operator_verify,
    operator_with_app,
)
from tests.auth_service.requests import AUTH, authority_of, me, platform_events
from tests.suite import PASSWORD, Suite, fresh_address


async def operator_row(suite: Suite, staff: Staff) -> OperatorRow:
    async with authority_of(suite).transaction(None) as session:
        row = await find_by_email(session, staff.email)
    assert row is not None
    return row


async def grow_old(suite: Suite, staff: Staff) -> None:
    """Let the operator's sign-in be a quarter of an hour ago."""
    past = datetime.now(UTC) - timedelta(minutes=15)
    async with authority_of(suite).transaction(None) as session:
        own = update(OperatorSessionRow).where(OperatorSessionRow.operator_id == staff.id)
        await session.execute(own.values(created_at=past))


async def test_an_operator_with_an_app_signs_in_with_password_and_code(suite: Suite) -> None:
    """Catalogue 86."""
    app = await operator_with_app(suite)
    asked = refused(await operator_login(suite, app.staff.email), 401, "mfa_required")
    assert asked["methods"] == ["totp", "recovery_code"]
    assert asked["mfaToken"].startswith("mis_mo_")
    done = fine(await operator_verify(suite, asked["mfaToken"], code=await app.code()))
    assert (done["user"]["email"], done["user"]["role"]) == (app.staff.email, "operator")
    assert fine(await me(suite, done["token"]))["user"]["id"] == str(app.staff.id)
    # Not until there is an app, and not while it waits to be confirmed.
    plain = await new_operator(suite)
    await enroll_operator(suite, plain)
    fine(await operator_login(suite, plain.email))


async def test_a_wrong_password_says_nothing_of_the_second_factor(suite: Suite) -> None:
    """Catalogue 79."""
    app = await operator_with_app(suite)
    refused(await operator_login(suite, app.staff.email, password="wrong"), 401, "invalid_credentials")


async def test_an_operators_code_works_once_and_never_after_a_later_one(suite: Suite) -> None:
    """Catalogue 86."""
    app = await operator_with_app(suite)
    token, code = await operator_asked(suite, app.staff), await app.code()
    fine(await operator_verify(suite, token, code=code))
    token = await operator_asked(suite, app.staff)
    refused(await operator_verify(suite, token, code=code), 401, "invalid_credentials")
    before = pyotp.TOTP(app.secret).at(datetime.now(UTC) - timedelta(seconds=30))
    refused(await operator_verify(suite, token, code=before), 401, "invalid_credentials")
    for beyond in (-95, 95):
        far = pyotp.TOTP(app.secret).at(datetime.now(UTC) + timedelta(seconds=beyond))
        refused(await operator_verify(suite, token, code=far), 401, "invalid_credentials")


async def test_of_two_who_show_the_same_to_an_operators_account_one_comes_in(suite: Suite) -> None:
    """Catalogue 86."""
    app = await operator_with_app(suite)
    token, recovery_code = await operator_asked(suite, app.staff), app.recovery_codes[0]
    answers = await asyncio.gather(
        *(operator_verify(suite, token, recoveryCode=recovery_code) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]
    standing = fine(await as_operator(suite, app.staff, "GET", MFA))
    assert (standing["totp"], standing["recoveryCodesLeft"]) == (True, 9)


async def test_an_operators_waiting_token_finishes_one_sign_in(suite: Suite) -> None:
    """Catalogue 86, 77."""
    app = await operator_with_app(suite)
    token = await operator_asked(suite, app.staff)
    fine(await operator_verify(suite, token, recoveryCode=app.recovery_codes[0]))
    refused(await operator_verify(suite, token, recoveryCode=app.recovery_codes[1]), 401, "token_invalid")


async def test_an_operators_waiting_token_dies_with_time_password_and_account(suite: Suite) -> None:
    """Catalogue 86."""
    app = await operator_with_app(suite)
    wrapping, row = authority_of(suite).tenancy.wrapping, await operator_row(suite, app.staff)
    old = new_waiting_token(wrapping, row, datetime.now(UTC) - LIFETIME)
    refused(await operator_verify(suite, old.text, code=await app.code()), 401, "token_invalid")
    token = await operator_asked(suite, app.staff)
    await alter_operator(suite, app.staff, status="disabled")
    refused(await operator_verify(suite, token, code=await app.code()), 401, "token_invalid")
    await alter_operator(suite, app.staff, status="active", password_hash="$argon2id$other")
    refused(await operator_verify(suite, token, code=await app.code()), 401, "token_invalid")


async def test_a_forged_waiting_token_is_nobodys(suite: Suite) -> None:
    """Catalogue 71, 86."""
    app, other = await operator_with_app(suite), await operator_with_app(suite)
    good = parse_waiting_token(await operator_asked(suite, app.staff))
    assert good is not None
    code = await app.code()
    for forged in (
        WaitingToken(other.staff.id, good.expires, good.proof).text,
        WaitingToken(new_id(), good.expires, good.proof).text,
        WaitingToken(app.staff.id, good.expires + 60, good.proof).text,
        good.text[:-1],
        good.text + "A",
        app.staff.token,
        "",
    ):
        refused(await operator_verify(suite, forged, code=code), 401, "token_invalid")
    fine(await operator_verify(suite, good.text, code=code))


async def test_members_and_operators_do_not_finish_each_others_sign_ins(suite: Suite) -> None:
    """Catalogue 86."""
    app = await operator_with_app(suite)
    token = await operator_asked(suite, app.staff)
    refused(await verify(suite, token, code=await app.code()), 401, "token_invalid")
    tenant = await suite.tenant()
    for path in (MFA, f"{TOTP}/enroll"):
        method = "GET" if path == MFA else "POST"
        answer = await suite.client.request(method, path, headers=tenant.auth)
        assert refused(answer, 403, "permission_denied")["required"] == "operator"


async def test_guesses_at_an_operators_second_factor_wait(suite: Suite) -> None:
    """Catalogue 86, 81."""
    app = await operator_with_app(suite)
    token = await operator_asked(suite, app.staff)
    for _ in range(10):
        refused(await operator_verify(suite, token, code="000000"), 401, "invalid_credentials")
    # The right password starts none of this anew.
    token = await operator_asked(suite, app.staff)
    refused(await operator_verify(suite, token, code=await app.code()), 429, "login_throttled")
    events = await platform_events(suite, "login.mfa_failed")
    assert (events[-1].resource, events[-1].outcome) == (f"operator:{app.staff.id}", "refused")


async def test_an_operator_changes_the_second_factor_by_a_fresh_proof_alone(suite: Suite) -> None:
    """Catalogue 76."""
    app = await operator_with_app(suite)
    await grow_old(suite, app.staff)
    changes = (("POST", f"{MFA}/recovery-codes", 200), ("DELETE", TOTP, 204))
    for method, path, _ in changes:
        refused(await as_operator(suite, app.staff, method, path, {}), 403, "proof_required")
        wrong = await as_operator(suite, app.staff, method, path, {"password": "wrong"})
        refused(wrong, 401, "invalid_credentials")
    codes = app.recovery_codes
    fresh = await as_operator(suite, app.staff, *changes[0][:2], {"recoveryCode": codes[0]})
    codes = fine(fresh)["recoveryCodes"]
    used = await as_operator(suite, app.staff, *changes[0][:2], {"recoveryCode": app.recovery_codes[1]})
    refused(used, 401, "invalid_credentials")
    refused(
        await as_operator(suite, app.staff, "POST", f"{TOTP}/enroll", {"password": PASSWORD}),
        409,
        "mfa_already_set",
    )
    fine(await as_operator(suite, app.staff, "DELETE", TOTP, {"recoveryCode": codes[0]}), 204)
    refused(await as_operator(suite, app.staff, "DELETE", TOTP, {"password": PASSWORD}), 404, "mfa_not_set")
    fine(await operator_login(suite, app.staff.email))


async def test_an_operators_app_is_confirmed_by_its_own_code(suite: Suite) -> None:
    staff = await new_operator(suite)
    confirmation = f"{TOTP}/confirm"
    refused(await as_operator(suite, staff, "POST", confirmation, {"code": "123456"}), 409, "mfa_not_pending")
    secret = await enroll_operator(suite, staff)
    other = pyotp.TOTP(pyotp.random_base32()).now()
    refused(
        await as_operator(suite, staff, "POST", confirmation, {"code": other}), 401, "invalid_credentials"
    )
    newer = await enroll_operator(suite, staff)
    for code, status in ((pyotp.TOTP(secret).now(), 401), (pyotp.TOTP(newer).now(), 200)):
        answer = await as_operator(suite, staff, "POST", confirmation, {"code": code})
        assert answer.status_code == status


async def test_an_operators_secret_is_sealed_for_that_operator(suite: Suite) -> None:
    """Catalogue 132."""
    app, other = await operator_with_app(suite), await operator_with_app(suite)
    row = await operator_row(suite, app.staff)
    assert row.totp_secret is not None
    assert app.secret.encode() not in row.totp_secret
    wrapping = authority_of(suite).tenancy.wrapping
    opened = wrapping.unwrap(row.totp_secret, row.totp_key_id or "", purpose_of(app.staff.id))
    assert opened.decode() == app.secret
    # One that is put into another's row opens nothing.
    await alter_operator(suite, other.staff, totp_secret=row.totp_secret)
    token = await operator_asked(suite, other.staff)
    refused(await operator_verify(suite, token, code=await app.code()), 401, "invalid_credentials")


async def test_a_second_factor_that_is_set_meanwhile_is_asked_for(suite: Suite) -> None:
    """Whoever knows the password alone does not slip in beside the confirmation."""
    staff = await new_operator(suite)
    secret = await enroll_operator(suite, staff)
    attempts = [operator_login(suite, staff.email) for _ in range(3)]
    body = {"code": pyotp.TOTP(secret).now()}
    confirmed, *answers = await asyncio.gather(
        as_operator(suite, staff, "POST", f"{TOTP}/confirm", body), *attempts
    )
    fine(confirmed)
    assert {answer.status_code for answer in answers} <= {200, 401}
    refused(await operator_login(suite, staff.email), 401, "mfa_required")


@pytest.mark.parametrize("shown", [{}, {"code": "123456", "recoveryCode": "A"}])
async def test_an_operator_shows_one_thing(suite: Suite, shown: dict[str, str]) -> None:
    address = fresh_address()
    refused(await operator_verify(suite, "x", address=address, **shown), 422, "validation_failed")


async def test_an_operators_visit_does_not_touch_the_operators_second_factor(suite: Suite) -> None:
    """Catalogue 76."""
    tenant, staff = await suite.tenant(), await new_operator(suite)
    body = {"tenantId": str(tenant.id), "reason": "A test."}
    visit = fine(await as_operator(suite, staff, "POST", f"{AUTH}/act-as", body))["token"]
    inside = Staff(staff.id, staff.email, visit)
    refused(await as_operator(suite, inside, "POST", f"{TOTP}/enroll"), 403, "permission_denied")
