"""Verifies one tenant's isolation, part by part, in transactions of that tenant's."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis, RedisError
from mis_tenancy.storage import Storage, StorageUnavailable
from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.isolation import prefixes, repository, rules
from tenant_service.isolation.facts import Check
from tenant_service.trail import Caller

log = structlog.get_logger(__name__)

# What is wrong is named in full up to here; a database with more faults than that is broken as a whole.
_MOST_NAMED: Final = 20

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
            checks.append(_check("redis_prefix", found, "A key of the tenant's is out of others' reach."))
        found = await _answered("storage", prefixes.storage_violations(self._storage, tenant_id))
        checks.append(_check("storage_prefix", found, "An object of the tenant's is out of others' reach."))
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


async def database_checks(database: Database, tenant_id: UUID) -> list[Check]:
    """Return what the application role's database says of itself, asked as `tenant_id`, known or not."""
    async with database.transaction(tenant_id) as session:
        roles = await repository.roles(session)
        tables = await repository.tables(session)
        excess = await repository.excess_privileges(session)
        readable = await repository.readable_tables(session)
        of_others = await repository.tables_showing_others(session, readable, tenant_id)
    # Nobody has this id, so nothing may be visible under it.
    async with database.transaction(new_id()) as session:
        of_nobody = await repository.tables_showing_any(session, readable)
    many = len(tables)
    held = f"{many} tables are enabled and forced."
    return [
        _check("roles", rules.strong_roles(roles), "No role of the application's is strong."),
        _check("row_level_security", rules.open_tables(tables), held),
        _check("policies", rules.wrong_policies(tables), f"{many} tables have exactly their policies."),
        _check("composite_keys", rules.wrong_keys(tables), "Every key contains the tenant."),
        _check("privileges", excess, "Nobody may do more than the application needs."),
        _check("rows_of_others", _visible(of_others), f"0 rows in {len(readable)} tables."),
        _check("rows_of_nobody", _visible(of_nobody), f"0 rows in {len(readable)} tables."),
    ]


async def _answered(part: str, asked: Awaitable[Answer]) -> Answer:
    try:
        return await asked
    except (SQLAlchemyError, OSError, RedisError, StorageUnavailable) as error:
        log.warning("isolation.unanswered", part=part, error=repr(error))
        raise VerificationIncomplete(parts=[part]) from error


def _check(name: str, wrong: Sequence[str], held: str) -> Check:
    if not wrong:
        return Check(name, True, held)
    more = f" … and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    return Check(name, False, "; ".join(wrong[:_MOST_NAMED]) + more)


def _visible(tables: Sequence[str]) -> list[str]:
    return [f"{table} shows rows of other tenants" for table in tables]
