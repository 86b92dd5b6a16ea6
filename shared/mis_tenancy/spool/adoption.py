"""Drains the spools of processes that have died.

A spool whose lock is free has no owner any more. Whoever takes the lock first drains it and deletes it; a
request that was admitted there and never got an outcome is recorded as `unknown`.
"""

from pathlib import Path

import structlog

from mis_tenancy.records.record import Lines
from mis_tenancy.spool.backlog import OrphanBacklog
from mis_tenancy.spool.drain import Drain, Rejects
from mis_tenancy.spool.lock import SpoolLock
from mis_tenancy.spool.writing import spool_directories
from mis_tenancy.system_database import SystemDatabase

_log = structlog.get_logger(__name__)


async def adopt_orphans(directory: Path, database: SystemDatabase, rejects: Rejects, lines: Lines) -> int:
    """Drain and delete every orphaned spool under MIS_SPOOL_DIR; return how many records were moved.

    Raise what the database raises while it is away: the orphan's lock is then free again and nothing of it is
    lost.
    """
    moved = 0
    for home in spool_directories(directory):
        try:
            lock = SpoolLock.claim(home)
        except OSError as error:
            # One unreadable directory, say of another user, must not hide the others.
            _log.warning("spool_not_adoptable", spool=home.name, error=repr(error))
            continue
        if lock is not None:
            moved += await _adopt(OrphanBacklog(home, lines), lock, database, rejects)
    return moved


async def _adopt(backlog: OrphanBacklog, lock: SpoolLock, database: SystemDatabase, rejects: Rejects) -> int:
    drain = Drain(backlog, database, rejects)
    try:
        while not drain.is_done:
            await drain.step()
        lock.remove()
    finally:
        lock.release()
    _log.info("spool_adopted", spool=backlog.home.name, records=drain.moved, damaged=backlog.reader.damaged)
    return drain.moved
