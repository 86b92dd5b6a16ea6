"""Refusals of verifications.

ProblemError
├── VerificationNotFound 404
├── ImageUnreadable 422
└── VerificationUnavailable 501
"""

from mis_tenancy.errors import ProblemError


class VerificationNotFound(ProblemError):
    """The user has no verification of this id."""

    status = 404
    code = "verification_not_found"
    detail = "There is no such verification of this user. Check the id."


class ImageUnreadable(ProblemError):
    """What was sent is no picture that could be read."""

    status = 422
    code = "image_unreadable"
    detail = "Send a photograph or scan of the document as JPEG or PNG."


class VerificationUnavailable(ProblemError):
    """Nothing is installed that reads documents."""

    status = 501
    code = "verification_unavailable"
    detail = (
        "This installation cannot read documents. Whoever runs it can install the extra `verification`: "
        "pip install 'mis-tenancy[verification]'."
    )
