"""Looks at Postgres: is each role's URL the role it should be, is the schema ours, does isolation hold."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from mis_cli.doctor.findings import Finding, fail, fine, warn
from mis_cli.migrations import head
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.verification import database_checks

OLDEST_SERVER: Final = 16
ROLES: Final[Mapping[str, str]] = {
    "database_url": "mis_app",
    "auth_database_url": "mis_auth",
    "platform_database_url": "mis_platform",
    "migration_database_url": "mis_owner",
}
# Seconds. A token's times are judged by each machine's own clock, with some leeway.
_SKEW_TO_MENTION: Final = 2.0
_SKEW_TOO_MUCH: Final = 30.0

_ABOUT: Final = """
select current_user::text as role, current_setting('server_version_num')::int / 10000 as version,
       (select rolsuper from pg_roles where rolname = current_user) as is_super,
       pg_postmaster_start_time()::text || '/' || current_database() as place,
       clock_timestamp() as now
"""
_OWNED_BY_OTHERS: Final = """
select c.relname::text as name from pg_class c
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'S')
   and pg_get_userbyid(c.relowner) <> current_user order by 1 limit 5
"""


@dataclass(frozen=True, slots=True)
class Entered:
    """What a server says to one role: which database this is, and what is to be said of the role."""

    place: str
    findings: Sequence[Finding]


async def enter(setting: str, url: str) -> Entered:
    """Look at one role's URL as that role."""
    name, expected = f"postgres {ROLES[setting]}", ROLES[setting]
    connection = await asyncpg.connect(url, timeout=10)
    try:
        asked = time.time()
        about: Any = await connection.fetchrow(_ABOUT)
        skew = about["now"].timestamp() - (asked + time.time()) / 2
        others = [] if expected != "mis_owner" else await _owned_by_others(connection)
    finally:
        await connection.close()
    findings = [_server(name, about["version"]), *_role(name, setting, about, others)]
    if setting == "database_url":
        findings.append(_clock(skew))
    return Entered(about["place"], [one for one in findings if one is not None])


def _server(name: str, version: int) -> Finding | None:
    if version >= OLDEST_SERVER:
        return None
    return fail(
        name, f"is Postgres {version}", f"Move to Postgres {OLDEST_SERVER} or newer; policies rely on it."
    )


def _role(name: str, setting: str, about: Any, others: Sequence[str]) -> list[Finding]:
    expected, variable = ROLES[setting], f"MIS_{setting.upper()}"
    if about["role"] != expected or about["is_super"]:
        strong = ", a superuser" if about["is_super"] else ""
        return [
            fail(
                name,
                f"{variable} enters as {about['role']}{strong}",
                f"Set {variable} to the URL of the role {expected} (infrastructure/database/roles.sql).",
            )
        ]
    if others:
        return [
            fail(
                name,
                f"does not own {', '.join(others)}",
                "Give it what it lacks: ALTER TABLE … OWNER TO mis_owner. Migrations and dumps need it.",
            )
        ]
    return [fine(name, f"enters Postgres {about['version']} as {expected}")]


async def _owned_by_others(connection: Any) -> list[str]:
    return [row["name"] for row in await connection.fetch(_OWNED_BY_OTHERS)]


def _clock(skew: float) -> Finding:
    detail = f"{abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} Postgres'"
    advice = "Let this machine and Postgres' keep the same time (chrony, systemd-timesyncd)."
    if abs(skew) > _SKEW_TOO_MUCH:
        return fail("clock", detail, advice)
    if abs(skew) > _SKEW_TO_MENTION:
        return warn("clock", detail, advice)
    return fine("clock", f"as Postgres', at {datetime.now(UTC):%H:%M:%S} UTC")


def one_place(places: Mapping[str, str]) -> list[Finding]:
    """Say whether all roles' URLs lead to one database."""
    if len(set(places.values())) <= 1:
        return []
    named = ", ".join(f"MIS_{setting.upper()}" for setting in places)
    return [
        fail("postgres", f"{named} lead to different databases", "The roles share one database: correct it.")
    ]


async def schema(url: str) -> Sequence[Finding]:
    """Say where the migrations stand, as the tables' owner."""
    advice = "Run `mis migrate` before services of this version start."
    connection = await asyncpg.connect(url, timeout=10)
    try:
        if not await connection.fetchval("select to_regclass('public.alembic_version') is not null"):
            return [fail("schema", "the database is empty", advice)]
        found = await connection.fetchval("select version_num from public.alembic_version")
    finally:
        await connection.close()
    if found != head():
        return [fail("schema", f"is at revision {found}, this program's is {head()}", advice)]
    return [fine("schema", f"is at this program's revision, {found}")]


async def isolation(url: str) -> Sequence[Finding]:
    """Ask what `POST …/isolation/verify` asks, as a tenant that does not exist."""
    database = Database(url, pool_size=2)
    try:
        await database.start()
        checks = await database_checks(database, new_id())
    finally:
        await database.stop()
    return [
        fine(f"isolation {check.name}", check.detail)
        if check.passed
        else fail(
            f"isolation {check.name}",
            check.detail,
            "Put back what infrastructure/database/schema.sql has there, before anybody is served.",
        )
        for check in checks
    ]
