"""The public signing keys, read from the one Postgres that every service shares."""

import json
from typing import Any

from mis_tenancy.database import Database

_VERIFYING = """
select kid, jwk from public_signing_keys where verifies_until is null or verifies_until > clock_timestamp()
"""


async def published_keys(database: Database) -> dict[str, dict[str, Any]]:
    """Return the JWK of every key that verifies now, by `kid` (RFC 7517)."""
    async with database.system_transaction() as system:
        rows = await system.fetch(_VERIFYING)
    return {row["kid"]: json.loads(row["jwk"]) for row in rows}
