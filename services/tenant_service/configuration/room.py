"""How many keys of its own making a tenant may have: what they hold counts towards no storage."""

from typing import Final

from mis_accounts.claims import LimitExceeded
from mis_tenancy.configuration import KNOWN
from mis_tenancy.sealed_keys import SEALED
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import ConfigurationRow
from tenant_service.configuration import repository

MOST_KEYS: Final = 500
_TOO_MANY: Final = (
    f"A tenant has at most {MOST_KEYS} configuration keys of its own making. Delete one that nothing reads "
    "any more, or put several values into one key."
)


async def hold_to_room(session: TenantSession, key: str, row: ConfigurationRow | None) -> None:
    """Raise LimitExceeded where `key`, whose row this is, would be one too many; lock the tenant before."""
    ours = KNOWN.keys() | SEALED.keys()
    if row is not None or key in ours:
        return
    used = await repository.count_other_keys(session, ours)
    if used >= MOST_KEYS:
        raise LimitExceeded(_TOO_MANY, resource="configurationKeys", limit=MOST_KEYS, used=used, requested=1)
