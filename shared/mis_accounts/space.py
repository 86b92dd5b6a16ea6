"""Space: how many bytes a tenant stores, exact however many uploads claim at once.

What is being uploaded is counted before its bytes are there, so that uploads side by side cannot share the
last of the room; who is done settles the difference.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from mis_accounts.claims import LimitExceeded, claimed, count
from mis_models.accounts import CountersRow
from mis_tenancy.plans import GIB
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow


@dataclass(frozen=True, slots=True)
class Space:
    """A tenant's room for files in bytes, with what is on its way; `limit` None is unlimited."""

    limit: int | None
    used: int


async def count_space(session: TenantSession) -> Space:
    """Return the tenant's space as it is now, which may be over in a moment; a claim is what holds."""
    counted = select(TenantRow.max_storage * GIB, CountersRow.storage_bytes)
    row = await session.execute(counted.join(CountersRow, CountersRow.tenant_id == TenantRow.id))
    return Space(*row.one())


async def claim_space(session: TenantSession, size: int) -> None:
    """Take `size` bytes of the session's tenant, or raise LimitExceeded and take none."""
    taken = CountersRow.storage_bytes + size
    limit = TenantRow.max_storage * GIB
    fits = or_(TenantRow.max_storage.is_(None), taken <= limit)
    if not await claimed(session, fits, {"storage_bytes": taken}):
        space = await count_space(session)
        raise LimitExceeded(resource="storage", limit=space.limit, used=space.used, requested=size)


async def settle_space(session: TenantSession, *, held: int, size: int, files: int = 1) -> None:
    """Count `files` new ones that are stored now, `size` bytes for which `held` had been taken."""
    settled = {"storage_bytes": CountersRow.storage_bytes + (size - held)}
    await count(session, settled | {"files": CountersRow.files + files})


async def release_space(session: TenantSession, size: int, *, files: int = 0) -> None:
    """Give `size` bytes back, and count so many `files` less."""
    released: dict[str, Any] = {"storage_bytes": CountersRow.storage_bytes - size}
    await count(session, released | {"files": CountersRow.files - files})
