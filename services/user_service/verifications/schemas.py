"""Bodies of the verification routes."""

from typing import Literal, Self
from uuid import UUID

from mis_http.schemas import Moment, ResponseBody
from mis_models.verifications import VerificationRow


class CheckOut(ResponseBody):
    """One thing that was looked at."""

    name: str
    passed: bool
    detail: str


class VerificationOut(ResponseBody):
    """What became of a document; its picture is kept until `imageUntil`, null once it is gone."""

    id: UUID
    user_id: UUID
    status: Literal["pending", "verified", "rejected", "needs_review", "failed"]
    checks: list[CheckOut]
    confidence: float | None
    image_until: Moment | None
    created_at: Moment
    completed_at: Moment | None

    @classmethod
    def of(cls, row: VerificationRow) -> Self:
        """Return the row as the API shows it."""
        return cls.model_validate(row, from_attributes=True)
