"""The base of bodies: camelCase on the wire, unknown fields refused, times ending in Z."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel


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


class ResponseBody(BaseModel):
    """A body that we answer with."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    def wire(self) -> dict[str, Any]:
        """Return the body as it goes over the wire."""
        return self.model_dump(mode="json", by_alias=True)
