"""Verifies one tenant's isolation, part by part, in transactions of that tenant's."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError
from mis_tenancy.isolation.facts import Check
from mis_tenancy.redis import Redis, RedisError
from mis_tenancy.storage import Storage, StorageUnavailable
from mis_tenancy.verification import check, database_checks
from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.isolation import prefixes
from tenant_service.trail import Caller

log = structlog.get_logger(__name__)

_BREACHED: Final = Cause(
    AlertKind.SECURITY,
    "isolation.breached",
    Severity.CRITICAL,
    "A verification found that the tenant is not isolated as it must be. The audit log names the checks that "
    "failed. Ask the platform's staff; the alert ends with a verification that passes.",
)

Answer = TypeVar("Answer")


class VerificationIncomplete(ProblemError):
    """A part did not answer, so nothing can be said about the whole."""

    status = 503
    code = "verification_incomplete"
    detail = "Some part did not answer, so isolation could not be verified. Try again in a moment."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was asked, and whether all of it passed."""

    checks: Sequence[Check]

    @property
    def is_isolated(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def status(self) -> str:
        """The verdict in the API's word."""
        return "isolated" if self.is_isolated else "breached"


class Verification:
    """Asks the running parts; `database` is that of the application role."""

    def __init__(self, database: Database, redis: Redis | None, storage: Storage) -> None:
        self._database = database
        self._redis = redis
        self._storage = storage

    async def verify(self, tenant_id: UUID, by: Caller) -> Verdict:
        """Return the verdict, and record it in the tenant's audit log.

        Raise VerificationIncomplete where a part does not answer: then neither word would be true.
        """
        checks = await _answered("database", database_checks(self._database, tenant_id))
        if self._redis is not None:
            found = await _answered("redis", prefixes.redis_violations(self._redis, tenant_id))
            checks.append(check("redis_prefix", found, "A key of the tenant's is out of others' reach."))
        found = await _answered("storage", prefixes.storage_violations(self._storage, tenant_id))
        checks.append(check("storage_prefix", found, "An object of the tenant's is out of others' reach."))
        verdict = Verdict(checks)
        await self._record(tenant_id, verdict, by)
        return verdict

    async def _record(self, tenant_id: UUID, verdict: Verdict, by: Caller) -> None:
        failed = [check.name for check in verdict.checks if not check.passed]
        if failed:
            log.error("isolation.breached", tenant=str(tenant_id), checks=failed)
        try:
            async with self._database.transaction(tenant_id) as session:
                by.record(
                    session,
                    "isolation.verified",
                    resource=f"tenants/{tenant_id}",
                    changes={"status": {"new": verdict.status}, "failed": {"new": failed}},
                )
                if failed:
                    await open_alert(session, _BREACHED)
                else:
                    await resolve_alert(session, _BREACHED.kind, _BREACHED.subject)
        except SQLAlchemyError as error:
            # A breach may be the very thing that closes the log, and must be told all the same.
            if not failed:
                raise VerificationIncomplete(parts=["audit_log"]) from error
            log.error("isolation.not_recorded", error=repr(error))


async def _answered(part: str, asked: Awaitable[Answer]) -> Answer:
    try:
        return await asked
    except (SQLAlchemyError, OSError, RedisError, StorageUnavailable) as error:
        log.warning("isolation.unanswered", part=part, error=repr(error))
        raise VerificationIncomplete(parts=[part]) from error
