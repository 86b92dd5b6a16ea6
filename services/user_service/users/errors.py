"""Refusals of the user routes.

ProblemError
├── UserNotFound 404
└── LastOwner 409
"""

from mis_tenancy.errors import ProblemError


class UserNotFound(ProblemError):
    """No user of the caller's tenant has this id."""

    status = 404
    code = "user_not_found"
    detail = "There is no such user. Check the id."


class LastOwner(ProblemError):
    """The tenant would be left without an owner."""

    status = 409
    code = "last_owner"
    detail = "This is the tenant's last owner. Make somebody else an owner first."
