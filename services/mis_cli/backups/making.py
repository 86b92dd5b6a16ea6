"""A backup of the whole: the database at one moment, then the objects, then the manifest and the name."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mis_cli.backups import dumping, objects
from mis_cli.backups.manifest import FORMAT, File, Hear, Manifest, Objects, file_of, finish, growing
from mis_cli.backups.programs import Programs
from mis_cli.backups.trail import note
from mis_tenancy.storage import Storage

DUMP: Final = "database.dump"

# Told of a step by its name and, where it is known, its size in bytes; returns whom to tell of bytes done.
Steps = Callable[[str, int | None], Hear]


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up: the database by its owner's URL, and the store."""

    owner_url: str
    storage: Storage


async def back_up(source: Source, target: Path, steps: Steps) -> Manifest:
    """Make the backup `target`; raise BackupRefused or BackupFailed, and then leave nothing behind."""
    with growing(target) as draft:
        hear = steps("database", None)
        async with dumping.snapshot(source.owner_url, of_all=True) as moment:
            programs = await asyncio.to_thread(Programs.for_server, moment.major)
            rows = await dumping.dump(moment, source.owner_url, programs, draft / DUMP)
            about = {
                "revision": moment.revision,
                "server": moment.server,
                "master_keys": await dumping.master_key_ids(moment.connection),
                "tenants": rows["public.tenants"],
            }
        dump = await asyncio.to_thread(_kept, draft / DUMP)
        hear(dump.bytes)
        copied = await objects.copy_out(
            source.storage, await source.storage.tenants(), draft, steps("objects", None)
        )
        manifest = _manifest(about, programs, rows, dump, copied)
        await asyncio.to_thread(finish, draft, manifest)
    await note(source.owner_url, "backup.made", {"tenants": manifest.tenants, "bytes": dump.bytes})
    return manifest


def _manifest(
    about: dict[str, Any], programs: Programs, rows: dict[str, int], dump: File, copied: Objects
) -> Manifest:
    return Manifest(
        format=FORMAT,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        programs=programs.version,
        rows=rows,
        dump=dump,
        objects=copied,
        **about,
    )


def _kept(path: Path) -> File:
    """Return the file's hash, with the file on the disk and this user's only."""
    path.chmod(0o600)
    with path.open("rb") as opened:
        os.fsync(opened.fileno())
    return file_of(path)
