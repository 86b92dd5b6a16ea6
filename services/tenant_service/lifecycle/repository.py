"""Every statement about tenants, their names and their settings."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Text, Uuid, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import IntegrityError

from mis_models.tenants import TenantProfileRow
from mis_tenancy.insertion import insert_together
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import ConfigurationRow, TenantNameRow, TenantRow
from tenant_service.domains.repository import is_anothers
from tenant_service.lifecycle.document import FEATURE_KEYS
from tenant_service.lifecycle.errors import NameTaken, SlugTaken, SubdomainTaken

RESERVED_FOR: Final = timedelta(days=90)

_UNIQUE: Final[dict[str, type[NameTaken]]] = {
    "uq_tenants_slug": SlugTaken,
    "uq_tenants_subdomain": SubdomainTaken,
}


# Made once, and the same for any number of names. Whose a domain is, is asked in the same round trip.
_NAMES: Final = TenantNameRow.__table__
_TENANT: Final = bindparam("tenant_id", type_=Uuid())
_FREE: Final = (
    insert(_NAMES)  # type: ignore[arg-type]  # it is a table
    .from_select(["name", "tenant_id"], select(func.unnest(bindparam("names", type_=ARRAY(Text))), _TENANT))
    .on_conflict_do_nothing()
    .returning(_NAMES.c.name)
    .cte("free")
)
_CLAIM: Final = select(func.array_agg(_FREE.c.name), is_anothers(bindparam("domain", type_=Text()), _TENANT))


@dataclass(frozen=True, slots=True)
class Claimed:
    """Which of the names that were asked for the tenant holds, and whether its domain is another's."""

    names: frozenset[str]
    is_domain_taken: bool


async def claim_names(
    session: TenantSession, names: Iterable[str], now: datetime, domain: str | None = None
) -> Claimed:
    """Take `names` for the session's tenant; those it does not hold now are not free.

    Names are taken in their order, so that two claims of the same ones cannot wait for each other.
    """
    wanted, tenant_id = sorted(set(names)), tenant_of(session)
    connection = await session.connection()
    asked = {"names": wanted, "tenant_id": tenant_id, "domain": domain}
    free, is_domain_taken = (await connection.execute(_CLAIM, asked)).one()
    held = frozenset(free or ())
    if len(held) < len(wanted):
        held |= await _reclaimed(session, [name for name in wanted if name not in held], now)
    return Claimed(held, is_domain_taken)


async def _reclaimed(session: TenantSession, names: Sequence[str], now: datetime) -> set[str]:
    """Take those of `names` that are the tenant's own, or whose time of reservation has passed."""
    tenant_id = tenant_of(session)
    again = (
        update(TenantNameRow)
        .where(
            TenantNameRow.name.in_(names),
            or_(TenantNameRow.tenant_id == tenant_id, TenantNameRow.reserved_until < now),
        )
        .values(tenant_id=tenant_id, reserved_until=None)
        .returning(TenantNameRow.name)
        .execution_options(synchronize_session=False)
    )
    return set(await session.scalars(again))


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
