"""Refusals of the media routes.

ProblemError
├── MediaNotFound 404
├── LengthRequired 411
├── FileTypeRefused 415
└── FileTooLarge 413
(given up: `UploadLapsed` 503; too slow: `UploadTooSlow` 408; a link that is not good: `LinkRefused` 403)
"""

from collections.abc import Sequence

from mis_tenancy.errors import ProblemError


class MediaNotFound(ProblemError):
    """No file of the caller's tenant has this id."""

    status = 404
    code = "media_not_found"
    detail = "There is no such file. GET /api/v1/media lists those that there are."


class LengthRequired(ProblemError):
    """The file is too large to be stored without knowing beforehand how large."""

    status = 411
    code = "length_required"
    detail = "A file of more than 40 GiB has to say how long it is. Send it with a Content-Length."


class FileTypeRefused(ProblemError):
    """The tenant takes no files of this type."""

    status = 415
    code = "file_type_refused"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(
            "The tenant's configuration (`file_upload.allowed_types`) allows no files of this type.",
            allowed=list(allowed),
        )


class FileTooLarge(ProblemError):
    """The file is larger than the tenant's configuration allows."""

    status = 413
    code = "file_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The file is larger than the {limit} bytes that `file_upload.max_size` allows in this tenant.",
            limit=limit,
        )
