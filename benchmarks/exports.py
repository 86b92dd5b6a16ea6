"""Run with `python -m benchmarks.exports`: how fast a large tenant is exported, and in how much memory.

One tenant of many users is exported by a process of its own, as the worker does it. Its memory is what the
operating system says while it runs, against what it was before it began.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psutil

from mis_cli.embedded import EmbeddedPostgres, prepare_database
from mis_cli.migrations import ROLES_FILE, upgrade
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.storage import Storage
from tenant_service.exports import places
from tenant_service.exports.running import Exporter

MIB: Final = 2**20
FORMATS: Final = ("ndjson", "json", "csv")

_FILL: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
values ('{tenant}', 'Large', 'large', 'large', 'custom', 'active', now(), now(), now());
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
select '{tenant}', gen_random_uuid(), 'person.number.' || n || '@large.example',
       'person.number.' || n || '@large.example', 'Person Number ' || n, 'member', 'active',
       jsonb_build_object('team', md5(n::text), 'since', 2000 + n % 25, 'remote', n % 3 = 0), now(), now()
  from generate_series(1, {rows}) n;
vacuum analyze users
"""
_ASK: Final = """
insert into exports (tenant_id, id, job_id, status, format, data_types, requested_by, created_at)
values ('{tenant}', '{export}', '{export}', 'queued', '{written_in}', '["users"]', '{export}', now())
"""


def main() -> None:
    """Fill a database, export it in each format, and print a line for each."""
    options = _options()
    if options.child:
        asyncio.run(_export(json.loads(sys.stdin.read())))
        return
    with _filled(options.rows) as given:
        print(f"{options.rows:,} users of one tenant; the store is a directory")
        print(f"{'format':<10}{'rows/s':>10}{'seconds':>10}{'archive MiB':>13}{'RSS growth MiB':>16}")
        for written_in in FORMATS:
            print(asyncio.run(_measured(given, written_in, options.rows)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def _filled(rows: int) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mis-bench-")))
        directory.chmod(0o711)
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres", durable=False))
        urls = prepare_database(postgres.address, ROLES_FILE)
        upgrade(urls.owner)
        tenant = str(new_id())
        for statement in _FILL.format(tenant=tenant, rows=rows).split(";\n"):
            postgres.address.query(statement, database="mis_db")
        ask = lambda sql: postgres.address.query(sql, database="mis_db")  # noqa: E731  # handed on as it is
        yield {"url": urls.app, "storage": (directory / "storage").as_uri(), "tenant": tenant, "ask": ask}


async def _measured(given: dict[str, Any], written_in: str, rows: int) -> str:
    export = str(new_id())
    given["ask"](_ASK.format(tenant=given["tenant"], export=export, written_in=written_in))
    told = {name: given[name] for name in ("url", "storage", "tenant")} | {"export": export}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.exports", "--child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate(json.dumps(told).encode())
    found = json.loads(said)
    assert child.returncode == 0
    return (
        f"{written_in:<10}{rows / found['seconds']:>10,.0f}{found['seconds']:>10.1f}"
        f"{found['size'] / MIB:>13.1f}{found['growth'] / MIB:>16.1f}"
    )


async def _export(told: dict[str, str]) -> None:
    database, snapshots = Database(told["url"]), Database(told["url"])
    await database.start()
    await snapshots.start()
    tenant_id, export_id = UUID(told["tenant"]), UUID(told["export"])
    storage = Storage(told["storage"])
    exporter = Exporter(database, snapshots, storage)
    memory = _Memory()
    started = time.perf_counter()
    with memory:
        await exporter.run(tenant_id, export_id)
    seconds = time.perf_counter() - started
    (stored,) = [one async for one in storage.of(tenant_id).list(places.below(export_id))]
    print(json.dumps({"seconds": seconds, "size": stored.size, "growth": memory.growth}))
    await snapshots.stop()
    await database.stop()


class _Memory:
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
