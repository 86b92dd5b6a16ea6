"""A deployment out of its backup: everything is judged first, then the objects, then one transaction.

The database changes in a single transaction: what was there goes, the dump comes, its rows are counted, and
what must not come back to life is ended. Stopped anywhere, it is as it was before.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from mis_cli.backups import clusters, objects
from mis_cli.backups.bare_server import make_fit
from mis_cli.backups.errors import BackupRefused
from mis_cli.backups.loading import OURS, Choice, load
from mis_cli.backups.making import DUMP, Source, Steps
from mis_cli.backups.manifest import Manifest, check_file, read_manifest
from mis_cli.backups.programs import Programs
from mis_cli.backups.tidying import ask_redis, tidy
from mis_cli.doctor.findings import Status
from mis_cli.doctor.keys import keys
from mis_cli.embedded import ROLES
from mis_cli.migrations import head, revisions, upgrade
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.settings import MasterKeys
from mis_tenancy.verification import database_checks

_ABOUT: Final = f"""
select current_setting('server_version_num')::int / 10000 as major,
       array(select rolname::text from pg_roles where rolname = any($1)) as roles,
       (select count(*) from pg_class where relnamespace = 'public'::regnamespace and {OURS})
       + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace and {OURS}) as things,
       (select count(*) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and usename = any($1)) as others
"""  # noqa: S608  # our own condition


@dataclass(frozen=True, slots=True)
class Target(Source):
    """Where a backup goes: besides the source's parts, those that are made fit and asked afterwards."""

    application_url: str
    auth_url: str | None
    platform_url: str | None
    superuser_url: str | None
    redis_url: str | None
    master_keys: MasterKeys

    @property
    def role_urls(self) -> dict[str, str | None]:
        """The URL of each role of the suite, as far as there is one."""
        return {
            "mis_owner": self.owner_url,
            "mis_app": self.application_url,
            "mis_auth": self.auth_url,
            "mis_platform": self.platform_url,
        }


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, what was removed for it, what of that is left, and what keeps it from serving."""

    manifest: Manifest
    revision: str
    objects_removed: int
    redis_keys_removed: int
    left: Sequence[str]
    faults: Sequence[str]


async def restore(directory: Path, target: Target, choice: Choice, steps: Steps) -> Restored:
    """Put the backup back; raise BackupRefused before anything changed, BackupFailed where it failed."""
    manifest = read_manifest(directory, Manifest)
    await _judge(directory, manifest, target, steps)
    if target.superuser_url is not None:
        await make_fit(target.superuser_url, target.role_urls)
    about = await _asked(target.owner_url)
    programs = await asyncio.to_thread(Programs.for_server, about["major"])
    others = await _fit(about, target, choice)
    await objects.copy_in(target.storage, directory, steps("objects back", manifest.objects.bytes))
    steps("database", None)
    await load(directory, manifest, target.owner_url, programs, choice)
    await asyncio.to_thread(upgrade, target.owner_url)
    done = await tidy(target.redis_url, "{*}:*", target.storage, directory, others)
    found = await faults(target)
    return Restored(
        manifest, head(), done.objects_removed, done.redis_keys_removed, left=done.left, faults=found
    )


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
    try:
        connection = await asyncpg.connect(owner_url, timeout=10)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise BackupRefused(
            f"The server does not let mis_owner in ({error}). Where it is a new one, set "
            "MIS_SUPERUSER_DATABASE_URL, and the database and the roles are made."
        ) from error
    try:
        await clusters.refuse_spread(connection)
        return await connection.fetchrow(_ABOUT, list(ROLES))
    finally:
        await connection.close()


async def _fit(about: Any, target: Target, choice: Choice) -> list[UUID]:
    """Return the tenants that have objects in the store; raise BackupRefused where the target is not fit."""
    if missing := sorted(set(ROLES) - set(about["roles"])):
        raise BackupRefused(
            f"The server lacks the roles {', '.join(missing)}. Run infrastructure/database/roles.sql in the "
            "database as a superuser and set their passwords, or set MIS_SUPERUSER_DATABASE_URL."
        )
    if target.redis_url is not None:
        await ask_redis(target.redis_url)
    if about["others"]:
        raise BackupRefused(
            f"{about['others']} other sessions of the suite's roles are in this database. Stop the services "
            "and the worker first: they would serve a mixture."
        )
    there = await target.storage.tenants()
    if not choice.replace and (about["things"] or there):
        what = "The database is not empty" if about["things"] else "The object store is not empty"
        raise BackupRefused(f"{what}. Restore elsewhere, or let all that is there go by --replace.")
    return there


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
