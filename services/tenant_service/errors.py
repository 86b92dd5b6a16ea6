"""Refusals that several features of this service share.

ProblemError
└── FieldRefused 422            a field that fits its type and breaks a rule; `errors` names it
└── (each feature's own leaves)
"""

from typing import Any

from mis_tenancy.errors import PermissionDenied, ProblemError

OPERATOR = "operator"


class FieldRefused(ProblemError):
    """One field of the body breaks a rule; `errors` names it under the refusal's own code."""

    status = 422

    def __init__(self, field: str, detail: str | None = None, **members: Any):
        unfit = {"field": field, "code": self.code, "message": detail or self.detail}
        super().__init__(detail, errors=[unfit], **members)


def operators_only(detail: str | None = None) -> PermissionDenied:
    """Return the refusal of what only an operator of the platform may do."""
    return PermissionDenied(
        detail or "Only an operator of the platform may do this. Ask the platform's staff.", required=OPERATOR
    )
