"""Every statement about tenants, their names and their settings."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from mis_http.pages import Page
from mis_models.tenants import TenantProfileRow
from mis_tenancy.insertion import insert_together
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of
from mis_tenancy.tables import ConfigurationRow, TenantNameRow, TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.lifecycle.document import FEATURE_KEYS
from tenant_service.lifecycle.errors import NameTaken, SlugTaken, SubdomainTaken
from tenant_service.lifecycle.filters import TenantFilter

RESERVED_FOR: Final = timedelta(days=90)

_UNIQUE: Final[dict[str, type[NameTaken]]] = {
    "uq_tenants_slug": SlugTaken,
    "uq_tenants_subdomain": SubdomainTaken,
}


async def claim_names(session: TenantSession, names: Iterable[str], now: datetime) -> set[str]:
    """Take `names` for the session's tenant and return those it now holds; the others are not free.

    Names are taken in their order, so that two claims of the same ones cannot wait for each other.
    """
    wanted, tenant_id = sorted(set(names)), tenant_of(session)
    rows = [{"name": name, "tenant_id": tenant_id, "reserved_until": None} for name in wanted]
    free = insert(TenantNameRow).values(rows).on_conflict_do_nothing().returning(TenantNameRow.name)
    held = set(await session.scalars(free))
    if len(held) == len(wanted):
        return held
    # Left over are other tenants' names, the tenant's own, and those whose time of reservation has passed.
    again = (
        update(TenantNameRow)
        .where(
            TenantNameRow.name.in_([name for name in wanted if name not in held]),
            or_(TenantNameRow.tenant_id == tenant_id, TenantNameRow.reserved_until < now),
        )
        .values(tenant_id=tenant_id, reserved_until=None)
        .returning(TenantNameRow.name)
        .execution_options(synchronize_session=False)
    )
    return held | set(await session.scalars(again))


async def release_names(session: TenantSession, names: Iterable[str], now: datetime) -> None:
    """Give up names of the session's tenant; they stay reserved for 90 days."""
    await session.execute(
        update(TenantNameRow)
        .where(TenantNameRow.name.in_(sorted(names)), TenantNameRow.tenant_id == tenant_of(session))
        .values(reserved_until=now + RESERVED_FOR)
        .execution_options(synchronize_session=False)
    )


async def names_held_back(session: TenantSession, now: datetime) -> Sequence[datetime]:
    """Return until when each name that the session's tenant has given up stays reserved, soonest first."""
    until = TenantNameRow.reserved_until
    held = select(until).where(TenantNameRow.tenant_id == tenant_of(session), until >= now).order_by(until)
    return [moment for moment in await session.scalars(held) if moment is not None]


async def insert_tenant(session: TenantSession) -> None:
    """Insert a new tenant with all that was added for it; raise the NameTaken of a name that is not free."""
    with _taken():
        await insert_together(session)


async def flush_tenant(session: TenantSession) -> None:
    """Send what is pending of the tenant's row; raise the NameTaken that a unique name calls for."""
    with _taken():
        await session.flush()


@contextmanager
def _taken() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        for constraint, refusal in _UNIQUE.items():
            if constraint in str(error.orig):
                raise refusal from error
        raise


async def lock_tenant(session: TenantSession) -> TenantRow:
    """Return the session's tenant, locked against other changes of it."""
    locked = select(TenantRow).where(TenantRow.id == tenant_of(session)).with_for_update(key_share=True)
    return (await session.scalars(locked)).one()


async def profile(session: TenantSession) -> TenantProfileRow:
    """Return the settings of the session's tenant."""
    return (await session.scalars(select(TenantProfileRow))).one()


async def tenant_and_profile(session: TenantSession) -> tuple[TenantRow, TenantProfileRow]:
    """Return the session's tenant with its settings."""
    both = select(TenantRow, TenantProfileRow).join(
        TenantProfileRow, TenantProfileRow.tenant_id == TenantRow.id
    )
    row = (await session.execute(both.where(TenantRow.id == tenant_of(session)))).one()
    return row[0], row[1]


async def feature_overrides(session: TenantSession) -> Sequence[ConfigurationRow]:
    """Return the tenant's own values of the `features.*` keys."""
    own = select(ConfigurationRow).where(ConfigurationRow.config_key.in_(FEATURE_KEYS))
    return (await session.scalars(own)).all()


async def listed(session: PlatformSession, asked: TenantFilter, page: Page) -> Sequence[TenantRow]:
    """Return a page of tenants, one row longer where there is more; purged ones only where asked for."""
    statement = select(TenantRow)
    if asked.status is None:
        statement = statement.where(TenantRow.status != TenantStatus.PURGED.value)
    else:
        statement = statement.where(TenantRow.status == asked.status.value)
    if asked.plan is not None:
        statement = statement.where(TenantRow.plan == asked.plan.value)
    if asked.text is not None:
        searched = (TenantRow.name, TenantRow.slug, TenantRow.subdomain, TenantRow.domain)
        statement = statement.where(
            or_(*(column.icontains(asked.text, autoescape=True) for column in searched))
        )
    paged = page.apply(statement, TenantRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(paged)).all()
