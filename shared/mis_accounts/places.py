"""Where a file's bytes lie: under its id and nothing that anybody could have chosen."""

from typing import Final
from uuid import UUID

from mis_tenancy.slugs import parse_id

PREFIX: Final = "media"


def object_of(media_id: UUID) -> str:
    """Return the key of the file's object."""
    return f"{PREFIX}/{media_id}"


def file_at(key: str) -> UUID | None:
    """Return the id of the file whose object has the key, None where it is no file's."""
    return parse_id(key.removeprefix(f"{PREFIX}/"))
