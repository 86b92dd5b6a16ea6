"""Every statement of an import."""

from collections.abc import Collection

from sqlalchemy import Select, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from mis_models.accounts import UserRow
from mis_tenancy.session import TenantSession


async def taken_addresses(session: TenantSession, norms: Collection[str]) -> set[str]:
    """Return those of `norms` that users of the tenant already have."""
    return set(await session.scalars(addresses_in_use(norms)))


def addresses_in_use(norms: Collection[str]) -> Select[str]:
    """Return the select of those of `norms` that users have."""
    listed = bindparam("norms", list(norms), type_=ARRAY(TEXT))
    return select(UserRow.email_norm).where(UserRow.email_norm == any_(listed))
