"""The refusals of branding.

ProblemError
├── FieldRefused 422
│   └── LogoRefused
├── LogoNotFound 404
└── TooManyLogos 409
"""

from mis_tenancy.errors import ProblemError
from tenant_service.errors import FieldRefused


class LogoRefused(FieldRefused):
    """The logo is not one."""

    code = "logo_refused"
    detail = "The logo takes PNG, JPEG or WebP of at most 256 KiB as a data: URL, or the URL it was read as."


class TooManyLogos(ProblemError):
    """So many logos were sent lately that the old ones have to be swept up first."""

    status = 409
    code = "logo_limit_exceeded"
    detail = (
        "This tenant has changed its logo often of late. Replaced ones are deleted within minutes; try then."
    )

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "300"})


class LogoNotFound(ProblemError):
    """The tenant shows no logo of its own."""

    status = 404
    code = "logo_not_found"
    detail = "This tenant shows no logo of its own."
