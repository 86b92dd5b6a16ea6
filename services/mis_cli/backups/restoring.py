"""A deployment out of its backup: everything is judged first, then the objects, then one transaction.

The database changes in a single transaction: what was there goes, the dump comes, its rows are counted, and
what must not come back to life is ended. Stopped anywhere, it is as it was before.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from mis_cli.backups import objects
from mis_cli.backups.errors import BackupRefused
from mis_cli.backups.loading import load
from mis_cli.backups.making import DUMP, Source, Steps
from mis_cli.backups.manifest import Manifest, check_file, read_manifest
from mis_cli.backups.programs import Programs
from mis_cli.doctor.findings import Status
from mis_cli.doctor.keys import keys
from mis_cli.embedded import ROLES
from mis_cli.migrations import ROLES_FILE, head, revisions, upgrade
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis
from mis_tenancy.settings import MasterKeys
from tenant_service.isolation.service import database_checks

_KEYS_AT_ONCE: Final = 1_000

_ABOUT: Final = """
select current_setting('server_version_num')::int / 10000 as major,
       array(select rolname::text from pg_roles where rolname = any($1)) as roles,
       (select count(*) from pg_class where relnamespace = 'public'::regnamespace)
       + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace) as things,
       (select count(*) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and usename = any($1)) as others
"""


@dataclass(frozen=True, slots=True)
class Target(Source):
    """Where a backup goes: besides the source's parts, those that are made fit and asked afterwards."""

    application_url: str
    superuser_url: str | None
    redis_url: str | None
    master_keys: MasterKeys


@dataclass(frozen=True, slots=True)
class Choice:
    """`replace` lets what is there go; `end_api_keys` ends the keys of tenants' programs, too."""

    replace: bool = False
    end_api_keys: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, what was removed for it, and what keeps it from serving."""

    manifest: Manifest
    revision: str
    objects_removed: int
    redis_keys_removed: int
    faults: Sequence[str]


async def restore(directory: Path, target: Target, choice: Choice, steps: Steps) -> Restored:
    """Put the backup back; raise BackupRefused before anything changed, BackupFailed where it failed."""
    manifest = read_manifest(directory, Manifest)
    await _judge(directory, manifest, target, steps)
    about = await _asked(target.owner_url)
    programs = await asyncio.to_thread(Programs.for_server, about["major"])
    if target.superuser_url is not None:
        await programs.run("psql", "--set=ON_ERROR_STOP=1", f"--file={ROLES_FILE}", url=target.superuser_url)
        about = await _asked(target.owner_url)
    others = await _fit(about, target, choice)
    await objects.copy_in(target.storage, directory, steps("objects back", manifest.objects.bytes))
    steps("database", None)
    await load(directory, manifest, target.owner_url, programs, choice.end_api_keys)
    await asyncio.to_thread(upgrade, target.owner_url)
    removed = await objects.remove_others(target.storage, directory, others)
    forgotten = 0 if target.redis_url is None else await forget(target.redis_url, "{*}:*")
    return Restored(manifest, head(), removed, forgotten, await faults(target))


async def _judge(directory: Path, manifest: Manifest, target: Target, steps: Steps) -> None:
    """Raise BackupRefused where the backup is damaged, too new, or could not be read once it was back."""
    if manifest.revision not in revisions():
        raise BackupRefused(
            f"The backup is of revision {manifest.revision}, which this program does not know. Restore it "
            "with the version of the suite that made it, or a newer one."
        )
    refuse_lacking(manifest.master_keys, target)
    hear = steps("checking", manifest.dump.bytes + manifest.objects.bytes)
    await asyncio.to_thread(check_file, directory, DUMP, manifest.dump, hear)
    await asyncio.to_thread(objects.check_objects, target.storage, directory, manifest.objects, hear)


def refuse_lacking(master_keys: Sequence[str], target: Target) -> None:
    """Raise BackupRefused where a master key is not at hand."""
    if missing := [key for key in master_keys if key not in target.master_keys.keys]:
        raise BackupRefused(
            f"MIS_MASTER_KEYS lacks {', '.join(missing)}, without which what is encrypted in the backup "
            "stays so for ever. Add what you kept apart from the backup."
        )


async def _asked(owner_url: str) -> Any:
    connection = await asyncpg.connect(owner_url, timeout=10)
    try:
        return await connection.fetchrow(_ABOUT, list(ROLES))
    finally:
        await connection.close()


async def _fit(about: Any, target: Target, choice: Choice) -> list[Any]:
    """Return the tenants that have objects in the store; raise BackupRefused where the target is not fit."""
    if missing := sorted(set(ROLES) - set(about["roles"])):
        raise BackupRefused(
            f"The server lacks the roles {', '.join(missing)}. Run infrastructure/database/roles.sql in the "
            "database as a superuser and set their passwords, or set MIS_SUPERUSER_DATABASE_URL."
        )
    if about["others"]:
        raise BackupRefused(
            f"{about['others']} other sessions of the suite's roles are in this database. Stop the services "
            "and the worker first: they would serve a mixture."
        )
    there = await target.storage.tenants()
    if not choice.replace and (about["things"] or there):
        what = "The database is not empty" if about["things"] else "The object store is not empty"
        raise BackupRefused(f"{what}. Restore elsewhere, or let all that is there go by --replace.")
    return list(there)


async def forget(redis_url: str, pattern: str) -> int:
    """Remove keys of the suite: counters of another time; limits count anew from the ledger."""
    redis = Redis(redis_url, 5.0)
    await redis.start()
    try:
        count, cursor = 0, b"0"
        while True:
            cursor, keys = await redis.command("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_AT_ONCE)
            if keys:
                count += await redis.command("UNLINK", *keys)
            if cursor == b"0":
                return count
    finally:
        await redis.stop()


async def faults(target: Target) -> list[str]:
    """Return which isolation checks fail, and what the master keys do not open.

    A key of the same id may be of another value, which nobody can tell before it is used.
    """
    opened = await keys(target.owner_url, target.master_keys)
    shut = [f"{found.name}: {found.detail}" for found in opened if found.status is Status.FAIL]
    database = Database(target.application_url, pool_size=2)
    try:
        await database.start()
        checks = await database_checks(database, new_id())
    finally:
        await database.stop()
    return [*shut, *(f"{check.name}: {check.detail}" for check in checks if not check.passed)]
