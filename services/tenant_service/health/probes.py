"""The checks of a probe, each in the tenant's own context: its rows, its Redis keys, its objects."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import structlog

from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis, tenant_key
from mis_tenancy.storage import Storage
from tenant_service.health import repository
from tenant_service.health.repository import Seen
from tenant_service.health.verdicts import Check, Requests

log = structlog.get_logger(__name__)

# Seconds that one check may take; a part that is slower than that counts as away.
_PATIENCE: Final = 5.0
_KEY_LIVES_MS: Final = 10_000

Answer = TypeVar("Answer")


class CheckFailed(Exception):
    """A part answered, and not as it should; the message says what was wrong."""


class Probes:
    """Runs the checks of one tenant; `database` is that of the application role."""

    def __init__(self, database: Database, redis: Redis | None, storage: Storage) -> None:
        self._database = database
        self._redis = redis
        self._storage = storage

    async def run(self, tenant_id: UUID) -> tuple[dict[str, Check], Seen | None]:
        """Return every check by name, and what the database let see, None where it did not answer well."""
        database, redis, storage = await asyncio.gather(
            _checked("database", lambda: self._ask_database(tenant_id)),
            _checked("redis", lambda: self._ask_redis(tenant_id)),
            _checked("storage", self._storage.of(tenant_id).probe),
        )
        requests = Requests() if database[1] is None else database[1].requests
        failing = "Too many requests of the last 15 minutes failed." if requests.are_failing else None
        api = Check(failing is None, database[0].duration_ms, failing)
        checks = {"database": database[0], "redis": redis[0], "storage": storage[0], "api": api}
        return checks, database[1]

    async def _ask_database(self, tenant_id: UUID) -> Seen:
        async with self._database.system_transaction(tenant_id) as system:
            seen = await repository.ask(system, tenant_id)
        if seen.others:
            raise CheckFailed("Rows of other tenants are visible in this tenant's transaction.")
        if not seen.own:
            raise CheckFailed("The tenant's own rows are not visible in its transaction.")
        return seen

    async def _ask_redis(self, tenant_id: UUID) -> None:
        if self._redis is None:
            raise CheckFailed("No Redis is configured, so each process limits on its own.")
        key, value = tenant_key(tenant_id, "probes", str(new_id())), b"probe"
        # All three leave at once, in this order.
        _, found, _ = await asyncio.gather(
            self._redis.command("SET", key, value, "PX", _KEY_LIVES_MS),
            self._redis.command("GET", key),
            self._redis.command("DEL", key),
        )
        if found != value:
            raise CheckFailed("Redis returned something else than was written.")


async def _checked(name: str, ask: Callable[[], Awaitable[Answer]]) -> tuple[Check, Answer | None]:
    began = time.perf_counter()
    answer, detail = None, None
    try:
        async with asyncio.timeout(_PATIENCE):
            answer = await ask()
    except CheckFailed as error:
        detail = str(error)
    except Exception as error:
        # Whatever is wrong with a part, it is what the probe is there to find out.
        detail = f"No good answer ({type(error).__name__})."
    if detail is not None:
        log.warning("health.check_failed", check=name, reason=detail)
    return Check(detail is None, round((time.perf_counter() - began) * 1000, 2), detail), answer
