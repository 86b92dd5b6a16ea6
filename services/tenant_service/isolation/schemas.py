"""A verification on the wire."""

from typing import Literal, Self

from mis_http.schemas import ResponseBody
from tenant_service.isolation.service import Verdict


class CheckOut(ResponseBody):
    """One check; `detail` says what was looked at, or what is wrong."""

    name: str
    passed: bool
    detail: str


class VerificationOut(ResponseBody):
    """Whether the tenant is isolated from all others."""

    status: Literal["isolated", "breached"]
    checks: list[CheckOut]

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Return the verdict as it is shown."""
        return cls(
            status="isolated" if verdict.is_isolated else "breached",
            checks=[
                CheckOut(name=check.name, passed=check.passed, detail=check.detail)
                for check in verdict.checks
            ],
        )
