"""The refusals of this feature.

ProblemError
├── ExportNotFound 404
└── ExportInProgress 409
(a link that is not good: `mis_http.files.signed_links.LinkRefused` 403)
"""

from mis_tenancy.errors import ProblemError


class ExportNotFound(ProblemError):
    """The tenant has no such export, or its file is not there (any more)."""

    status = 404
    code = "export_not_found"
    detail = "There is no such export, or no file of it. GET …/exports lists the exports with their status."


class ExportInProgress(ProblemError):
    """Another export of the tenant has not ended."""

    status = 409
    code = "export_in_progress"
    detail = (
        "An export of this tenant is under way. Wait for it, or cancel it by DELETE …/exports/{exportId}."
    )
