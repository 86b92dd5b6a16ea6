"""Bodies of the routes of second factors."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from auth_service.login.schemas import UnstrippedText
from auth_service.mfa.checking import Shown
from auth_service.mfa.proofs import Proof
from auth_service.mfa.service import Enrolment, Standing
from mis_http.schemas import Moment, RequestBody, ResponseBody

# Bounded against a flood only: a code of a wrong shape is a wrong code, and answered as one.
CodeText = Annotated[str, Field(max_length=64)]
# Far longer than any token, and far shorter than a body may be.
MfaTokenText = Annotated[str, Field(max_length=1_024)]


class EnrolmentOut(ResponseBody):
    """What an authenticator app is told; it is shown once."""

    secret: str = Field(repr=False)
    otpauth_uri: str = Field(repr=False)

    @classmethod
    def of(cls, enrolment: Enrolment) -> Self:
        """Return the enrolment as the API shows it."""
        return cls(secret=enrolment.secret, otpauth_uri=enrolment.otpauth_uri)


class CodeIn(RequestBody):
    """A code of the authenticator app."""

    code: CodeText = Field(repr=False)


class RecoveryCodesOut(ResponseBody):
    """Recovery codes, each of which works once; they are shown once."""

    recovery_codes: list[str] = Field(repr=False)


class SecondStepIn(RequestBody):
    """The token of a sign-in that waits, and a code of the app or a recovery code."""

    mfa_token: MfaTokenText = Field(repr=False)
    code: CodeText | None = Field(default=None, repr=False)
    recovery_code: CodeText | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def show_one(self) -> Self:
        """Raise ValueError unless exactly one code is sent."""
        if (self.code is None) == (self.recovery_code is None):
            raise ValueError("Send either code or recoveryCode.")
        return self

    def shown(self) -> Shown:
        """Return what is shown."""
        return Shown(self.code, self.recovery_code)


class ProofIn(RequestBody):
    """What shows again that it is oneself; nothing is needed within ten minutes of signing in."""

    code: CodeText | None = Field(default=None, repr=False)
    recovery_code: CodeText | None = Field(default=None, repr=False)
    password: UnstrippedText | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def show_at_most_one(self) -> Self:
        """Raise ValueError where more than one thing is shown."""
        if [self.code, self.recovery_code, self.password].count(None) < 2:
            raise ValueError("Send one of code, recoveryCode and password.")
        return self


def proof_of(body: ProofIn | None) -> Proof:
    """Return what the body shows."""
    if body is None:
        return Proof()
    has_code = body.code is not None or body.recovery_code is not None
    shown = Shown(body.code, body.recovery_code) if has_code else None
    return Proof(shown, body.password)


class StandingOut(ResponseBody):
    """Whether an authenticator app is set, since when, and how many recovery codes are left.

    From `resetAt` on the next sign-in takes the app away: an operator was told that it is lost.
    """

    totp: bool
    confirmed_at: Moment | None
    recovery_codes_left: int
    reset_at: Moment | None

    @classmethod
    def of(cls, standing: Standing) -> Self:
        """Return the standing as the API shows it."""
        return cls(
            totp=standing.confirmed_at is not None,
            confirmed_at=standing.confirmed_at,
            recovery_codes_left=standing.recovery_codes_left,
            reset_at=standing.reset_at,
        )
