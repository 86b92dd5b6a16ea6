"""The arithmetic of codes, by the clock of the test."""

from uuid import uuid4

import pyotp
import pytest

from auth_service.mfa.codes import (
    RECOVERY_CODES,
    new_recovery_codes,
    new_totp_secret,
    otpauth_uri,
    recovery_digest,
    step_of,
)

# RFC 6238, appendix B: the SHA-1 secret, and times with their codes (the last six digits).
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_CODES = [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]


@pytest.mark.parametrize(("at", "code"), RFC_CODES)
def test_codes_are_those_of_the_standard(at: int, code: str) -> None:
    assert step_of(RFC_SECRET, code, at) == at // 30


@pytest.mark.parametrize(("steps", "is_good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_good_for_one_step_either_way(steps: int, is_good: bool) -> None:
    """Catalogue 86."""
    now = 1_700_000_010
    code = pyotp.TOTP(RFC_SECRET).at(now + 30 * steps)
    assert step_of(RFC_SECRET, code, now) == (now // 30 + steps if is_good else None)


@pytest.mark.parametrize(
    "text", ["", " ", "28708", "2870822", "28708x", "٢٨٧٠٨٢", "²87082", "-87082", "2" * 64]
)
def test_what_has_another_shape_is_no_code(text: str) -> None:
    assert step_of(RFC_SECRET, text, 59) is None


def test_a_code_may_be_typed_as_apps_show_it() -> None:
    assert step_of(RFC_SECRET, "287 082", 59) == 1


def test_a_secret_has_160_bits_and_says_whose_it_is() -> None:
    secret = new_totp_secret()
    assert len(secret) == 32
    uri = pyotp.parse_uri(otpauth_uri(secret, account="a:b@x.example", issuer="Ümlaut: & Söhne"))
    assert (uri.secret, uri.name, uri.issuer) == (secret, "a:b@x.example", "Ümlaut: & Söhne")


def test_recovery_codes_are_many_different_and_read_however_they_are_typed() -> None:
    codes, tenant, user = new_recovery_codes(), uuid4(), uuid4()
    assert len(set(codes)) == RECOVERY_CODES
    digest = recovery_digest(tenant, user, codes[0])
    assert digest == recovery_digest(tenant, user, codes[0].lower().replace("-", " "))
    others = {
        recovery_digest(tenant, user, codes[1]),
        recovery_digest(tenant, uuid4(), codes[0]),
        recovery_digest(uuid4(), user, codes[0]),
    }
    assert len(others - {digest}) == 3
