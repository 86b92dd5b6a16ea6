"""What can be wrong with an ending.

ProblemError
└── TenantNotPurged 409 · ResidueFound 409 · TablesOutOfReach 409
"""

from collections.abc import Mapping, Sequence

from mis_tenancy.errors import ProblemError
from tenant_service.endings.traces import Found


class TenantNotPurged(ProblemError):
    """A certificate is asked for before there is one."""

    status = 409
    code = "tenant_not_purged"
    detail = (
        "There is no certificate before the tenant is purged. `purgeAt` says when that is due, `startedAt` "
        "whether it has begun, and `reasons` why its last run failed."
    )


class ResidueFound(ProblemError):
    """After everything was removed, something of the tenant was there: the attempt fails, to be repeated."""

    status = 409
    code = "residue_found"

    def __init__(self, rows: Mapping[str, int], outside: Found) -> None:
        self.reasons = [f"{count} rows in {table}" for table, count in sorted(rows.items())]
        if outside.redis_keys:
            self.reasons.append(f"{outside.redis_keys} Redis keys")
        if outside.objects:
            self.reasons.append(f"{outside.objects} objects")
        super().__init__(f"Left of the tenant: {', '.join(self.reasons)}.")


class TablesOutOfReach(ProblemError):
    """A service beside the suite keeps rows of tenants where the purge may not look."""

    status = 409
    code = "tables_out_of_reach"

    def __init__(self, tables: Sequence[str]) -> None:
        self.reasons = [
            f"{table} refers to tenants, and mis_platform may not empty it: it needs usage of the schema, "
            "select, delete and the policy tenant_isolation there (mis_tenancy.policies.protection)"
            for table in tables
        ]
        super().__init__("; ".join(self.reasons))
