"""From the text of an API key to a verified principal: the program that holds it.

What a key may do is decided anew from its creator's role, so a key never outgrows a person. A verified key is
remembered for a minute; a revocation ends it earlier, and news of its creator has it read again. The key
names its tenant, which is bound before anything is read: no statement looks among all tenants' keys.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from mis_tenancy.access import ROLE_PERMISSIONS, role_of_key
from mis_tenancy.database import Database
from mis_tenancy.errors import TenantUnavailable, TokenExpired, TokenInvalid, TokenRevoked
from mis_tenancy.postgres.connection import plain_uuid
from mis_tenancy.tenant import Principal, PrincipalKind, Role
from mis_tenancy.tokens.api_key_texts import ApiKey, parse_api_key

log = structlog.get_logger(__name__)

# Far shorter than the feed remembers news for, so no entry outlives the news that would have ended it.
_MEMORY_SECONDS: Final = 60.0
# A flood of invented keys waits here, and not for the connections that everybody else needs. Keys that were
# good a moment ago are read again beside it, and do not wait behind those that strangers make up.
_LOOKUPS_AT_ONCE: Final = 4
_RENEWALS_AT_ONCE: Final = 2
# A connection that went silent must not hold a place for ever.
_PATIENCE_SECONDS: Final = 2.0
_NOT_VALID: Final = "This API key is not valid here. Check that it is copied whole."

_BY_ID: Final = """
select k.key_hash, k.scopes, extract(epoch from k.expires_at)::float8 as expires_at,
       k.revoked_at is not null or u.status <> 'active' as is_revoked,
       u.id as creator, u.role, u.epoch
  from api_keys k join users u on u.tenant_id = k.tenant_id and u.id = k.created_by
 where k.tenant_id = $1 and k.id = $2
"""


class Feed(Protocol):
    """What is asked whether news has come since a key was read."""

    async def confirm(self) -> None:
        """Return when the process is up to date; raise TenantUnavailable when that cannot be known."""
        ...

    def has_heard_more(self, tenant_id: UUID, user_id: UUID, epoch: int) -> bool:
        """Return whether the user has an epoch later than `epoch`."""
        ...


@dataclass(frozen=True, slots=True)
class _Found:
    """A key as it stood when it was read: `creator` is whose news makes it stale."""

    principal: Principal
    creator: UUID
    is_revoked: bool
    read_at: float


class ApiKeys:
    """Verifies API keys; at most `remembered` good ones are kept in mind, and as many that are nobody's.

    `clock` gives seconds since 1970, `elapsed` is monotonic.
    """

    def __init__(
        self,
        database: Database,
        feed: Feed,
        *,
        remembered: int = 10_000,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._feed = feed
        self._capacity = remembered
        self._clock = clock
        self._elapsed = elapsed
        self._found: OrderedDict[bytes, _Found] = OrderedDict()
        # Apart, so that a flood of invented keys drives no good one out.
        self._nobodys: OrderedDict[bytes, float] = OrderedDict()
        self._loading: dict[bytes, asyncio.Task[_Found | None]] = {}
        self._lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._renewals = asyncio.Semaphore(_RENEWALS_AT_ONCE)

    async def principal_of(self, text: str) -> Principal:
        """Return the program that holds the key; raise TokenInvalid, TokenRevoked or TokenExpired."""
        key = parse_api_key(text)
        if key is None:
            raise TokenInvalid(_NOT_VALID)
        await self._feed.confirm()
        found = await self._look(key)
        if found is None:
            raise TokenInvalid(_NOT_VALID)
        if found.is_revoked:
            raise TokenRevoked("This API key was revoked, or its creator has no active account any more.")
        if found.principal.expires_at <= self._clock():
            raise TokenExpired("This API key has expired. Make a new one at /api/v1/auth/api-keys.")
        return found.principal

    async def _look(self, key: ApiKey) -> _Found | None:
        digest = key.digest
        found = self._found.get(digest)
        if found is not None and self._is_fresh(found):
            self._found.move_to_end(digest)
            return found
        if self._elapsed() - self._nobodys.get(digest, float("-inf")) < _MEMORY_SECONDS:
            return None
        task = self._loading.get(digest)
        if task is None:
            task = self._loading[digest] = asyncio.create_task(self._load(key, digest), name="api key")
            task.add_done_callback(lambda done: self._finished(digest, done))
        # A caller that is cancelled must not take the answer away from the others who wait for it.
        return await asyncio.shield(task)

    def _finished(self, digest: bytes, task: asyncio.Task[_Found | None]) -> None:
        del self._loading[digest]
        if not task.cancelled():
            # Taken, so that a failure nobody waits for any more is not reported as never retrieved.
            task.exception()

    def _is_fresh(self, found: _Found) -> bool:
        if self._elapsed() - found.read_at >= _MEMORY_SECONDS:
            return False
        tenant_id = found.principal.tenant_id
        return tenant_id is not None and not self._feed.has_heard_more(
            tenant_id, found.creator, found.principal.user_epoch
        )

    async def _load(self, key: ApiKey, digest: bytes) -> _Found | None:
        read_at = self._elapsed()
        row = await self._read(key, self._renewals if digest in self._found else self._lookups)
        if row is None or not compare_digest(row["key_hash"], digest):
            self._found.pop(digest, None)
            _keep(self._nobodys, digest, read_at, self._capacity)
            return None
        found = _Found(_principal(key, row), plain_uuid(row["creator"]), row["is_revoked"], read_at)
        _keep(self._found, digest, found, self._capacity)
        return found

    async def _read(self, key: ApiKey, places: asyncio.Semaphore) -> Any | None:
        try:
            async with (
                asyncio.timeout(_PATIENCE_SECONDS),
                places,
                self._database.system_transaction(key.tenant_id) as system,
            ):
                rows = await system.fetch(_BY_ID, key.tenant_id, key.id)
        except Exception as error:
            log.warning("api_keys.unreadable", error=repr(error))
            raise TenantUnavailable("The API key cannot be looked up at the moment. Try again.") from error
        return rows[0] if rows else None


def _principal(key: ApiKey, row: Any) -> Principal:
    role = Role(row["role"])
    scopes = frozenset(map(str, ROLE_PERMISSIONS[role])) & frozenset(json.loads(row["scopes"]))
    expires_at = row["expires_at"]
    return Principal(
        id=key.id,
        kind=PrincipalKind.API_KEY,
        tenant_id=key.tenant_id,
        role=role_of_key(scopes, role),
        scopes=scopes,
        user_epoch=row["epoch"],
        expires_at=float("inf") if expires_at is None else expires_at,
    )


def _keep(cache: OrderedDict[bytes, Any], digest: bytes, value: Any, capacity: int) -> None:
    cache[digest] = value
    cache.move_to_end(digest)
    if len(cache) > capacity:
        cache.popitem(last=False)
