"""The two ceremonies of WebAuthn Level 3, as far as the library carries them; it is imported here alone.

What comes back from a browser is JSON with CBOR, keys and certificates in it, all of an attacker's making.
The library dies of some of it in ways it does not promise, so whatever it dies of is a ceremony that failed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeVar

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    options_to_json_dict,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from auth_service.challenges.tokens import ChallengeToken
from auth_service.passkeys.places import Place

Json = dict[str, Any]
_T = TypeVar("_T")

# The standard's own bound (§6.5.1).
_LONGEST_ID: Final = 1_023


class CeremonyFailed(Exception):
    """What came back does not answer what was asked."""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential that an authenticator has made."""

    id: bytes
    public_key: bytes
    sign_count: int
    backed_up: bool


@dataclass(frozen=True, slots=True)
class Assertion:
    """A proof by a credential: how often it says it was used, and whether it is copied between devices."""

    sign_count: int
    backed_up: bool


@dataclass(frozen=True, slots=True)
class Person:
    """Whom an authenticator shows: `handle` is random, `email` and `name` are for the person to read."""

    handle: bytes
    email: str
    name: str


def challenge_of(token: ChallengeToken) -> bytes:
    """Return the challenge that belongs to a token, which does not give the token away."""
    return sha256(b"passkey challenge\n" + token.text.encode()).digest()


def registration_options(
    place: Place, organisation: str, person: Person, challenge: bytes, known: Sequence[bytes], timeout: int
) -> Json:
    """Return what `navigator.credentials.create()` is asked; `timeout` is in seconds.

    The credential has to be discoverable and its user verified, and must not be one of `known`.
    """
    options = generate_registration_options(
        rp_id=place.rp_id,
        rp_name=organisation,
        user_id=person.handle,
        user_name=person.email,
        user_display_name=person.name,
        challenge=challenge,
        timeout=timeout * 1_000,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            require_resident_key=True,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
    )
    return options_to_json_dict(options)


def authentication_options(place: Place, challenge: bytes, timeout: int) -> Json:
    """Return what `navigator.credentials.get()` is asked; `timeout` is in seconds."""
    options = generate_authentication_options(
        rp_id=place.rp_id,
        challenge=challenge,
        timeout=timeout * 1_000,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json_dict(options)


def verify_registration(credential: Json, place: Place, challenge: bytes) -> NewCredential:
    """Return the credential that was made for this place and challenge; raise CeremonyFailed."""
    parsed = _or_failed(lambda: parse_registration_credential_json(credential))
    _refuse_frames(parsed.response.client_data_json)
    made = _or_failed(
        lambda: verify_registration_response(
            credential=parsed,
            expected_challenge=challenge,
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            require_user_verification=True,
        )
    )
    if not 0 < len(made.credential_id) <= _LONGEST_ID or made.credential_id != parsed.raw_id:
        raise CeremonyFailed
    return NewCredential(
        made.credential_id, made.credential_public_key, made.sign_count, made.credential_backed_up
    )


def credential_and_user(credential: Mapping[str, Any]) -> tuple[bytes, bytes | None]:
    """Return which credential is presented, and for which user handle; raise CeremonyFailed."""
    parsed = _or_failed(lambda: parse_authentication_credential_json(dict(credential)))
    return parsed.raw_id, parsed.response.user_handle


def verify_authentication(credential: Json, place: Place, challenge: bytes, public_key: bytes) -> Assertion:
    """Return the proof by a credential's key for this place and challenge; raise CeremonyFailed.

    Whether the counter goes forward is the caller's to judge.
    """
    parsed = _or_failed(lambda: parse_authentication_credential_json(credential))
    _refuse_frames(parsed.response.client_data_json)
    proof = _or_failed(
        lambda: verify_authentication_response(
            credential=parsed,
            expected_challenge=challenge,
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    )
    return Assertion(proof.new_sign_count, proof.credential_backed_up)


def _refuse_frames(client_data: bytes) -> None:
    """Raise CeremonyFailed for a ceremony inside another site's page, which shows its user something else."""
    if _or_failed(lambda: parse_client_data_json(client_data)).cross_origin:
        raise CeremonyFailed


def _or_failed(step: Callable[[], _T]) -> _T:
    try:
        return step()
    except Exception as error:
        raise CeremonyFailed from error
