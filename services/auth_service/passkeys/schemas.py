"""Bodies of the passkey routes; what browsers make and take is JSON of WebAuthn Level 3, passed on as is."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field

from auth_service.passkeys.registering import LONGEST_NAME, UNNAMED, Asked
from mis_http.schemas import Moment, RequestBody, ResponseBody, Text
from mis_models.factors import PasskeyRow

# Far longer than any token, and far shorter than a body may be.
ChallengeTokenText = Annotated[str, Field(max_length=1_024)]
NameText = Annotated[Text, Field(min_length=1, max_length=LONGEST_NAME)]


class AskedOut(ResponseBody):
    """What the browser's `navigator.credentials` is asked, and the token that its answer is sent with."""

    public_key: dict[str, Any]
    challenge_token: str = Field(repr=False)

    @classmethod
    def of(cls, asked: Asked) -> Self:
        """Return what is asked as the API shows it."""
        return cls(public_key=asked.public_key, challenge_token=asked.token)


class AnswerIn(RequestBody):
    """What the authenticator answered (`PublicKeyCredential.toJSON()`), with the token it was asked with."""

    credential: dict[str, Any]
    challenge_token: ChallengeTokenText = Field(repr=False)


class RegistrationIn(AnswerIn):
    """A new credential, and what its owner calls it."""

    name: NameText = UNNAMED


class PasskeyOut(ResponseBody):
    """A passkey: it works at hosts below `rpId`; one that is `backedUp` is on several devices."""

    id: UUID
    name: str
    rp_id: str
    backed_up: bool
    created_at: Moment
    last_used_at: Moment | None

    @classmethod
    def of(cls, row: PasskeyRow) -> Self:
        """Return the row as the API shows it."""
        return cls.model_validate(row, from_attributes=True)
