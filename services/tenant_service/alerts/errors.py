"""Refusals of the alerts' routes.

ProblemError
├── AlertNotFound 404
└── AlertResolved 409
"""

from mis_tenancy.errors import ProblemError


class AlertNotFound(ProblemError):
    """The tenant has no alert of this id."""

    status = 404
    code = "alert_not_found"
    detail = "There is no such alert. Check the id."


class AlertResolved(ProblemError):
    """What the alert was about has ended."""

    status = 409
    code = "alert_resolved"
    detail = "The alert has been resolved already, so there is nothing to acknowledge."
