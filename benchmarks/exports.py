"""Run with `python -m benchmarks exports`: how fast a large tenant is exported and imported, in what memory.

One tenant of many users is exported by a process of its own, as the worker does it, and the last archive is
imported into an empty tenant by another. A process's memory is what the operating system says while it
works, against what it was before it began.
"""

import argparse
import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psutil

from benchmarks.ground import Ground, ground
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.storage import Storage
from tenant_service.exports import places
from tenant_service.exports.running import Exporter
from tenant_service.imports import running as imports

MIB: Final = 2**20
EXPORT: Final = "export"
IMPORT: Final = "import"

TENANT: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
values ('{tenant}', 'Large', '{slug}', '{slug}', 'custom', 'active', now(), now(), now());
insert into tenant_counters (tenant_id) values ('{tenant}')
"""
_USERS: Final = """
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
select '{tenant}', gen_random_uuid(), 'person.number.' || n || '@large.example',
       'person.number.' || n || '@large.example', 'Person Number ' || n, 'member', 'active',
       jsonb_build_object('team', md5(n::text), 'since', 2000 + n % 25, 'remote', n % 3 = 0), now(), now()
  from generate_series(1, {rows}) n;
vacuum analyze users
"""
_EXPORT: Final = """
insert into exports (tenant_id, id, job_id, status, format, data_types, requested_by, created_at)
values ('{tenant}', '{id}', '{id}', 'queued', '{written_in}', '["users"]', '{id}', now())
"""
_IMPORT: Final = """
insert into imports (tenant_id, id, job_id, status, requested_by, requested_role, sha256, created_at)
values ('{tenant}', '{id}', '{id}', 'queued', '{id}', 'owner', '{sha256}', now())
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the work is done, and the tenants that are full and empty."""

    ground: Ground
    full: str
    empty: str


def main() -> None:
    """Export in each format, import what came of it, and print a line for each."""
    options = _options()
    if options.child:
        asyncio.run(_work(json.loads(sys.stdin.read())))
        return
    with _prepared(options.rows) as place:
        print(f"{options.rows:,} users of one tenant; the store is a directory")
        print(f"{'work':<16}{'rows/s':>10}{'seconds':>10}{'archive MiB':>13}{'RSS growth MiB':>16}")
        for written_in in ("json", "csv", "ndjson"):
            export = str(new_id())
            place.ground.ask(_EXPORT, tenant=place.full, id=export, written_in=written_in)
            print(_line(f"export {written_in}", options.rows, _measured(place, EXPORT, place.full, export)))
        archive = place.ground.store / "tenants" / place.full / "exports" / export / "1.zip"
        print(_line("import ndjson", options.rows, _imported(place, archive)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks exports", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def _prepared(rows: int) -> Iterator[Place]:
    with ground() as given:
        place = Place(given, str(new_id()), str(new_id()))
        place.ground.ask(TENANT, tenant=place.full, slug="full")
        place.ground.ask(TENANT, tenant=place.empty, slug="empty")
        place.ground.ask(_USERS, tenant=place.full, rows=rows)
        yield place


def _imported(place: Place, archive: Path) -> dict[str, Any]:
    """Give the archive to the empty tenant as if it had been sent, and have it imported."""
    sent = str(new_id())
    kept = place.ground.store / "tenants" / place.empty / imports.archive_of(UUID(sent))
    kept.parent.mkdir(parents=True)
    shutil.copyfile(archive, kept)
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    place.ground.ask(_IMPORT, tenant=place.empty, id=sent, sha256=digest)
    return _measured(place, IMPORT, place.empty, sent) | {"size": archive.stat().st_size}


def _measured(place: Place, work: str, tenant: str, identifier: str) -> dict[str, Any]:
    where = {"url": place.ground.urls.app, "storage": place.ground.store.as_uri()}
    told = where | {"work": work, "tenant": tenant, "id": identifier}
    command = [sys.executable, "-m", "benchmarks.exports", "--child"]
    child = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise SystemExit(child.stderr)
    found: dict[str, Any] = json.loads(child.stdout)
    return found


def _line(name: str, rows: int, found: dict[str, Any]) -> str:
    return (
        f"{name:<16}{rows / found['seconds']:>10,.0f}{found['seconds']:>10.1f}"
        f"{found['size'] / MIB:>13.1f}{found['growth'] / MIB:>16.1f}"
    )


async def _work(told: dict[str, str]) -> None:
    database, snapshots = Database(told["url"]), Database(told["url"])
    await database.start()
    await snapshots.start()
    tenant_id, identifier = UUID(told["tenant"]), UUID(told["id"])
    storage = Storage(told["storage"])
    memory, started = Memory(), time.perf_counter()
    with memory:
        if told["work"] == EXPORT:
            await Exporter(database, snapshots, storage).run(tenant_id, identifier)
        else:
            await imports.ImportRuns(database, storage).run(tenant_id, identifier)
    seconds = time.perf_counter() - started
    sizes = [one.size async for one in storage.of(tenant_id).list(places.below(identifier))]
    print(json.dumps({"seconds": seconds, "size": sum(sizes), "growth": memory.growth}))
    await snapshots.stop()
    await database.stop()


class Memory:
    """Looks at the process's resident memory many times a second for as long as its block runs."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._highest = self._before
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @property
    def growth(self) -> int:
        """By how many bytes the memory has grown at most."""
        return self._highest - self._before

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self._highest = max(self._highest, self._process.memory_info().rss)


if __name__ == "__main__":
    main()
