"""A tenant's health on the wire."""

from typing import Literal, Self

from pydantic import Field

from mis_http.schemas import Moment, ResponseBody
from tenant_service.health.service import Report


class HealthChecks(ResponseBody):
    """Whether each part answers for this tenant."""

    database: bool
    redis: bool
    storage: bool
    api: bool


class HealthMetrics(ResponseBody):
    """Numbers over the tenant's own requests and probes; null without samples."""

    response_time: float | None = Field(description="Median of the last 15 minutes, in milliseconds.")
    error_rate: float | None = Field(description="Fraction of the last 15 minutes that failed with 5xx.")
    uptime: float | None = Field(description="Percent of the last 24 hours' probes that passed.")


class CheckDetail(ResponseBody):
    """How long a check took, and why it failed."""

    duration_ms: float
    detail: str | None


class HealthOut(ResponseBody):
    """How well the platform works for this tenant."""

    status: Literal["healthy", "degraded", "unhealthy"]
    checks: HealthChecks
    metrics: HealthMetrics
    last_checked: Moment
    check_details: dict[str, CheckDetail]

    @classmethod
    def of(cls, report: Report) -> Self:
        """Return the report as it is shown."""
        probe = report.probe
        requests = probe.requests
        median = requests.response_us
        return cls(
            status=probe.status.value,
            checks=HealthChecks(**{name: check.passed for name, check in probe.checks.items()}),
            metrics=HealthMetrics(
                response_time=None if median is None else round(median / 1000, 1),
                error_rate=None if requests.error_rate is None else round(requests.error_rate, 6),
                uptime=None if report.uptime is None else round(report.uptime, 3),
            ),
            last_checked=probe.at,
            check_details={
                name: CheckDetail(duration_ms=check.duration_ms, detail=check.detail)
                for name, check in probe.checks.items()
            },
        )
