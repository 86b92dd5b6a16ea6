"""Where a tenant's bytes lie: under an id and nothing that anybody could have chosen."""

from typing import Final
from uuid import UUID

from mis_tenancy.slugs import parse_id

# Of files, and of the pictures that verifications look at.
PREFIX: Final = "media"
PICTURES: Final = "verifications"


def object_of(media_id: UUID) -> str:
    """Return the key of the file's object."""
    return f"{PREFIX}/{media_id}"


def picture_of(verification_id: UUID) -> str:
    """Return the key of the verification's picture."""
    return f"{PICTURES}/{verification_id}"


def all_of(one: UUID) -> tuple[str, ...]:
    """Return every key under which something of this id may lie; no two things have one id."""
    return object_of(one), picture_of(one)


def id_at(key: str) -> UUID | None:
    """Return the id of what has the key, None where it is none of ours."""
    return parse_id(key.partition("/")[2])
