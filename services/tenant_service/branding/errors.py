"""The refusals of branding.

ProblemError
├── FieldRefused 422
│   └── LogoRefused
└── LogoNotFound 404
"""

from mis_tenancy.errors import ProblemError
from tenant_service.errors import FieldRefused


class LogoRefused(FieldRefused):
    """The logo is not one."""

    code = "logo_refused"
    detail = "The logo takes PNG, JPEG or WebP of at most 256 KiB as a data: URL, or the URL it was read as."


class LogoNotFound(ProblemError):
    """The tenant shows no logo of its own."""

    status = 404
    code = "logo_not_found"
    detail = "This tenant shows no logo of its own."
