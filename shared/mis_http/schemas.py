"""The base of bodies: camelCase on the wire, unknown fields refused, times ending in Z."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

# Each unknown field is told by name, which costs far more than sending it.
_MOST_UNKNOWN: Final = 100


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    return text


def moment_text(moment: datetime) -> str:
    """Return the moment as the wire spells it (RFC 3339, UTC, ending in Z)."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


Text = Annotated[str, AfterValidator(_no_nul)]
Moment = Annotated[datetime, PlainSerializer(moment_text, return_type=str, when_used="json")]


class RequestBody(BaseModel):
    """A body that a client sends; an unknown field is a mistake worth telling, so it is refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        populate_by_name=False,
    )

    @model_validator(mode="before")
    @classmethod
    def refuse_floods(cls, body: Any) -> Any:
        """Raise PydanticCustomError for a body of far more fields than there are."""
        if isinstance(body, dict) and len(body) > len(cls.model_fields) + _MOST_UNKNOWN:
            raise PydanticCustomError("too_many_fields", "holds far more fields than there are")
        return body


class ResponseBody(BaseModel):
    """A body that we answer with."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    def wire(self) -> dict[str, Any]:
        """Return the body as it goes over the wire."""
        return self.model_dump(mode="json", by_alias=True)
