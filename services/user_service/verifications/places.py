"""Where a document's picture lies: under the verification's id."""

from uuid import UUID


def object_of(verification_id: UUID) -> str:
    """Return the key of the picture's object."""
    return f"verifications/{verification_id}"
