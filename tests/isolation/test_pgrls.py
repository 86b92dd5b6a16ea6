"""pgrls' 68 rules over the migrated database: what it finds is explained here, or is a defect."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.citus import on_cluster
from tests.servers import TestServers

PGRLS: Final = Path(sys.executable).with_name("pgrls")
# On a cluster the directory's part on the coordinator has a number.
OPEN_BY_NAME: Final = (
    r"public\.\w+\.(owner|platform)|public\.(tenants(_\d+)?\.directory_read|revocations\.read)"
)


@dataclass(frozen=True)
class Explained:
    """A kind of finding that is meant: its rule, where it may be, and why."""

    rule: str
    where: str
    why: str


EXPLAINED: Final = (
    Explained(
        "SEC001",
        r"public\.(alembic_version|certificate_keys|deletion_certificates|login_throttles|operators|operator_sessions|operator_refresh_tokens|plan_prices"
        r"|platform_audit_logs|platform_idempotency_keys|public_signing_keys|schedules|signing_keys)",
        "These hold nothing of a tenant's; privileges decide who reads them (test_catalogue: UNNARROWED).",
    ),
    *(
        Explained(
            rule,
            OPEN_BY_NAME,
            "FORCE holds the owner too, so backfills and dumps need a policy; the platform crosses tenants "
            "where it is named, and the directory and the news are for every service. Each names its role.",
        )
        for rule in ("SEC005", "SEC008", "SEC028", "SEC038")
    ),
    Explained(
        "SEC007",
        r"public\.\w+",
        "One permissive policy per role and table; a restrictive floor would hold owner and platform too.",
    ),
    *(
        Explained(
            rule,
            r"public\.audit_(logs|seals)\.platform",
            "The worker seals all tenants' newest rows with one statement, bound to nobody; a session bound "
            "to a tenant sees only that one's, which `true` would not hold it to (decision 0005).",
        )
        for rule in ("SEC004", "PERF001")
    ),
    Explained(
        "SEC014",
        r"public\.ensure_audit_partitions",
        "It makes empty partitions, reads no rows, pins its search_path, and mis_platform alone executes it.",
    ),
    Explained(
        "SEC027",
        r"public\.(sessions|user_terms|usage_members|usage_member_days|invitations|account_tokens|api_keys"
        r"|totp_factors|recovery_codes|passkeys|challenges|media|sso_identities|verifications)",
        "Within a tenant, permissions decide; the policy is the tenant's.",
    ),
    Explained(
        "SEC030", r"public\.(jobs|revocations)", "Null is the platform's own row, which no tenant is to see."
    ),
    Explained(
        "SEC035",
        r"public\.(tenants(_\d+)? \(uq_tenants_(slug|subdomain|verified_domain)(_\d+)?\)"
        r"|jobs \(uq_jobs_dedupe_key\))",
        "Names are one namespace over all tenants, as the API says; a job's lane is its tenant.",
    ),
    Explained(
        "PERF001",
        r"public\.\w+\.(tenant_isolation|write|directory_write)",
        "Citus refuses a policy with a sub-select; the setting is stable, so an index computes it once.",
    ),
    Explained(
        "PERF003",
        r"public\.(jobs\.tenant_isolation|revocations\.write)",
        "A tenant reads a job by its key and only adds news.",
    ),
    *[
        Explained(
            "SEC013",
            r"public\.(jobs|outbox|revocations|tenant_names|webhook_lanes)\.commit_together",
            "It touches a table without rows, so that Citus commits the nodes and the coordinator as one.",
        )
        for _ in range(on_cluster())
    ],
)


def findings(url: str) -> list[tuple[str, str]]:
    """Return (rule, location) of each of pgrls' findings."""
    ran = subprocess.run(  # noqa: S603  # our own interpreter's tool on our own server
        [PGRLS, "lint", "--format", "json"],
        env={"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout, ran.stderr
    return [(found["rule_id"], found["location"]) for found in json.loads(ran.stdout)["violations"]]


def unexplained(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the findings that no entry of EXPLAINED covers."""
    return [
        (rule, location)
        for rule, location in found
        if not any(one.rule == rule and re.fullmatch(one.where, location) for one in EXPLAINED)
    ]


@pytest.fixture(scope="module")
def linted(test_servers: TestServers) -> str:
    """The owner's URL of a database that these tests may break."""
    return test_servers.database("pgrls").owner


def test_pgrls_finds_nothing_that_is_not_explained(linted: str) -> None:
    """Catalogue 33."""
    found = findings(linted)
    assert unexplained(found) == []
    used = {
        one
        for rule, location in found
        for one in EXPLAINED
        if one.rule == rule and re.fullmatch(one.where, location)
    }
    assert used == set(EXPLAINED), "An explanation that explains nothing hides the next finding."


def test_pgrls_finding_of_a_hole_is_not_explained_away(test_servers: TestServers, linted: str) -> None:
    """Catalogue 33."""
    database = urlsplit(linted).path.removeprefix("/")
    test_servers.postgres.query(
        "create policy wide on users for select to public using (true); "
        "alter table sessions disable row level security; create view everybody as select * from users; "
        "grant select on everybody to mis_app; alter policy tenant_isolation on user_terms using (true)",
        database=database,
    )
    found = {location for _, location in unexplained(findings(linted))}
    assert {
        "public.users.wide",
        "public.sessions",
        "public.everybody",
        "public.user_terms.tenant_isolation",
    } <= found
