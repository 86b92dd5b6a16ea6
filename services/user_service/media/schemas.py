"""Media on the wire."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, StrictInt

from mis_http.schemas import Moment, RequestBody, ResponseBody
from mis_models.media import MediaRow

_DAY = 86_400


class MediaOut(ResponseBody):
    """A file; `size` is in bytes, `sha256` in hexadecimal, `ownerId` null where its sender is no user."""

    id: UUID
    filename: str
    content_type: str
    size: int
    sha256: str
    owner_id: UUID | None
    created_at: Moment

    @classmethod
    def of(cls, row: MediaRow) -> Self:
        """Return the file as the API shows it."""
        return cls.model_validate(row, from_attributes=True)


class LinkIn(RequestBody):
    """For how long a link is to be good, in seconds."""

    expires_in: Annotated[StrictInt, Field(ge=1, le=_DAY)] = 600


class LinkOut(ResponseBody):
    """A link that needs no token: whoever has it may fetch this one file until it expires."""

    url: str
    expires_at: Moment
