"""Every statement about tenants' domains and what proves them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Exists, delete, exists, func, or_, select
from sqlalchemy.exc import IntegrityError

from mis_models.domains import DomainClaimRow
from mis_tenancy.database import Database
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.domains.errors import DomainTaken
from tenant_service.domains.proofs import new_token

_UNIQUE: Final = "uq_tenants_verified_domain"


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be proven: that `domain` holds `token`."""

    domain: str
    token: str


def is_anothers(domain: Any, tenant_id: Any) -> Exists:
    """Return whether another tenant than `tenant_id` has proven `domain`; unproven claims do not count."""
    return exists().where(
        TenantRow.domain == domain,
        TenantRow.domain_verified_at.is_not(None),
        TenantRow.status != TenantStatus.PURGED.value,
        TenantRow.id != tenant_id,
    )


async def refuse_taken(session: TenantSession, domain: str | None) -> None:
    """Raise DomainTaken where another tenant than the session's has proven `domain`."""
    if domain is not None:
        asked = select(is_anothers(domain, tenant_of(session)))
        if await session.scalar(asked, execution_options={"unscoped": True}):
            raise DomainTaken


def new_claim(now: datetime) -> DomainClaimRow:
    """Return the claim of a tenant that has none, with a token of its own."""
    return DomainClaimRow(token=new_token(), claimed_at=now)


async def renew_claim(session: TenantSession, domain: str | None, now: datetime) -> None:
    """Give the tenant, whose row must be locked, the claim of a new `domain`, or none."""
    await session.execute(delete(DomainClaimRow).execution_options(synchronize_session=False))
    if domain is not None:
        session.add(new_claim(now))


async def claim_of(session: TenantSession) -> DomainClaimRow | None:
    """Return the tenant's claim."""
    found: DomainClaimRow | None = await session.scalar(select(DomainClaimRow))
    return found


async def claimed(session: TenantSession) -> tuple[TenantRow, DomainClaimRow | None]:
    """Return the session's tenant with its claim, as of one moment."""
    both = select(TenantRow, DomainClaimRow).outerjoin(
        DomainClaimRow, DomainClaimRow.tenant_id == TenantRow.id
    )
    row = (await session.execute(both.where(TenantRow.id == tenant_of(session)))).one()
    return row[0], row[1]


async def claim_to_prove(database: Database, tenant_id: UUID) -> Claim | None:
    """Return what the tenant is to prove, in a transaction of its own, or None where it claims nothing.

    Asking DNS takes seconds, for which no transaction may wait.
    """
    wanted = select(TenantRow.domain, DomainClaimRow.token).join(
        DomainClaimRow, DomainClaimRow.tenant_id == TenantRow.id
    )
    rows = await database.fetch(wanted, tenant_id)
    return Claim(rows[0]["domain"], rows[0]["token"]) if rows else None


@contextmanager
def one_holder() -> Iterator[None]:
    """Raise DomainTaken where the block proves a domain that another tenant has proven."""
    try:
        yield
    except IntegrityError as error:
        if _UNIQUE in str(error.orig):
            raise DomainTaken from error
        raise


async def fresh_claims(session: PlatformSession, fresh: timedelta, most: int) -> list[UUID]:
    """Return tenants in service whose claim is younger than `fresh`, unproven, and due for a look.

    The pause after a look is half the claim's age then, from a minute to an hour.
    """
    checked, now = DomainClaimRow.checked_at, func.clock_timestamp()
    age = func.extract("epoch", checked - DomainClaimRow.claimed_at)
    pause = func.least(func.greatest(age / 2, 60), 3_600)
    due = or_(checked.is_(None), checked + func.make_interval(0, 0, 0, 0, 0, 0, pause) <= now)
    wanted = (
        select(DomainClaimRow.tenant_id)
        .join(TenantRow, TenantRow.id == DomainClaimRow.tenant_id)
        .where(TenantRow.domain_verified_at.is_(None), TenantRow.status == TenantStatus.ACTIVE.value)
        .where(DomainClaimRow.claimed_at > now - fresh, due)
        .order_by(checked.nulls_first())
        .limit(most)
    )
    return list(await session.scalars(wanted))


async def due_tenants(
    session: PlatformSession, every: timedelta, when_failing: timedelta, most: int
) -> list[UUID]:
    """Return tenants whose proven domain was checked longest ago, those whose check is due."""
    checked, now = DomainClaimRow.checked_at, func.clock_timestamp()
    failing = DomainClaimRow.failing_since.is_not(None)
    due = or_(checked.is_(None), checked < now - every, failing & (checked < now - when_failing))
    wanted = (
        select(DomainClaimRow.tenant_id)
        .join(TenantRow, TenantRow.id == DomainClaimRow.tenant_id)
        .where(TenantRow.domain_verified_at.is_not(None), TenantRow.status != TenantStatus.PURGED.value, due)
        .order_by(checked.nulls_first())
        .limit(most)
    )
    return list(await session.scalars(wanted))
