"""Everything the middleware is made of, wired once: what an adopting service constructs, starts and stops.

tenancy = Tenancy(TenancySettings(...))
app = FastAPI(lifespan=..., middleware=[tenancy.middleware(RoutePolicy(...))])
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection

from mis_tenancy.audit import Recorder, Spool
from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.encryption import TenantKeys, Wrapping
from mis_tenancy.gate import Gate
from mis_tenancy.ledger import UsageLedger
from mis_tenancy.logging import ensure_logging
from mis_tenancy.metrics import Metrics
from mis_tenancy.middleware import TenantMiddleware
from mis_tenancy.origins.actor_keys import ActorKeys
from mis_tenancy.origins.sealing import SpoolCipher
from mis_tenancy.quotas import Limiter
from mis_tenancy.records.record import Lines
from mis_tenancy.redis import Redis
from mis_tenancy.redis.metrics import RedisMetrics
from mis_tenancy.replicas.positions import Positions
from mis_tenancy.replicas.reads import Reads
from mis_tenancy.resolution import Resolver
from mis_tenancy.revocations import RevocationFeed
from mis_tenancy.routes import RoutePolicy
from mis_tenancy.session import NEWS_TOLD
from mis_tenancy.settings import TenancySettings
from mis_tenancy.tokens.api_keys import ApiKeys
from mis_tenancy.tokens.keyring import KeyRing
from mis_tenancy.tokens.published_keys import published_keys
from mis_tenancy.tokens.verification import TokenVerifier
from mis_tenancy.tracing import Tracer
from mis_tenancy.verification import refuse_open_tables

log = structlog.get_logger(__name__)


class Tenancy:
    """The collaborators of one process; construct it anywhere, start it on the event loop that serves.

    With a `tracer` requests and their statements become spans.
    """

    def __init__(self, settings: TenancySettings, tracer: Tracer | None = None) -> None:
        self.settings = settings
        self.tracer = tracer
        self.wrapping = Wrapping(settings.master_keys)
        self.actor_keys = ActorKeys(self.wrapping)
        self.database = Database(
            settings.database_url, pool_size=settings.pool_size, actor_keys=self.actor_keys
        )
        if tracer is not None:
            tracer.watch(self.database)
        self.redis = Redis(settings.redis_url, settings.redis_timeout) if settings.redis_url else None
        self.feed = RevocationFeed(
            self.database, self.redis, interval=settings.feed_interval, stale_after=settings.feed_stale_after
        )
        self.directory = TenantDirectory(self.database)
        self.resolver = Resolver(self.directory, settings)
        self.keys = KeyRing(self._published_keys)
        self.verifier = TokenVerifier(
            self.keys,
            issuer=settings.issuer,
            audience=settings.audience,
            is_revoked=self.feed.is_revoked,
            opaque=ApiKeys(self.database, self.feed).principal_of,
        )
        self.gate = Gate(
            resolver=self.resolver, directory=self.directory, feed=self.feed, verifier=self.verifier
        )
        lines = Lines(SpoolCipher(settings.master_keys))
        spool = Spool(settings.spool_directory, settings.spool_limit_bytes, settings.service, lines)
        self.recorder = Recorder(spool, self.database)
        self.ledger = UsageLedger(self.database, self.recorder)
        self.limiter = Limiter(self.redis, self.ledger.counted_on, settings.expected_processes)
        self.tenant_keys = TenantKeys(self.wrapping)
        self.metrics = Metrics(settings.service, settings.metrics_tenants)
        self.metrics.watch(
            local_decisions=lambda: self.limiter.local_decisions,
            audit_pending=lambda: self.recorder.pending,
            feed_lag=lambda: self.feed.lag,
        )
        if self.redis is not None:
            self.metrics.registry.register(RedisMetrics(settings.service, self.redis))
        self.positions = Positions(self.redis) if settings.replica_database_url and self.redis else None
        self.reads = Reads(self.database, self._replica(), self.positions, self.metrics.replica_read)
        self.database.on_news = self.feed.announce
        self.database.on_wake = None if self.redis is None else self.redis.wake
        self.database.on_write = None if self.positions is None else self.positions.note
        self.feed.on_tenant += [self.directory.invalidate, self.tenant_keys.forget]
        self.feed.on_signing_key.append(self.keys.refresh)

    def middleware(
        self, policy: RoutePolicy, routes: Callable[[], Iterable[str]] | None = None
    ) -> Middleware:
        """Return the middleware to compose an application with; `routes` are those of TenantMiddleware."""
        return Middleware(
            TenantMiddleware,
            resolver=self.resolver,
            directory=self.directory,
            feed=self.feed,
            verifier=self.verifier,
            limiter=self.limiter,
            recorder=self.recorder,
            metrics=self.metrics,
            policy=policy,
            settings=self.settings,
            routes=routes,
            tracer=self.tracer,
        )

    async def confirm(self, request: HTTPConnection) -> None:
        """Raise the refusal that the request's caller would meet now, as a ProblemError.

        For what outlives the moment in which its caller was let in: a stream or a socket asks before each
        thing that it tells. It costs no query while nothing has changed.
        """
        await self.gate.confirm(request.scope)

    async def start(self) -> None:
        """Connect, check role and tables, load revocations and keys; raise what keeps us from serving."""
        ensure_logging(self.settings.service)
        await self.database.start()
        await refuse_open_tables(self.database)
        if self.redis is not None:
            await self.redis.start()
        await self.feed.start()
        await self.keys.refresh()
        await self.reads.start()
        await self.recorder.start()

    async def stop(self) -> None:
        """Stop in the opposite order; what the spool still holds is left to a successor."""
        await self.recorder.stop()
        await self.reads.stop()
        if self.positions is not None:
            await self.positions.stop()
        await self.feed.stop()
        if self.redis is not None:
            await self.redis.stop()
        await self.database.stop()
        if self.tracer is not None:
            await self.tracer.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start, and stop whatever happens in between."""
        try:
            await self.start()
            yield
        finally:
            await self.stop()

    async def settle(self, session: AsyncSession) -> None:
        """After a commit with news, hear it here before the answer leaves: callers read their writes."""
        if news := session.info.pop(NEWS_TOLD, ()):
            try:
                await self.feed.hear(news)
            except Exception as error:
                # The change is committed and the feed will hear of it by itself; the answer stands.
                log.warning("revocations.settle_failed", error=repr(error))

    def _replica(self) -> Database | None:
        url = self.settings.replica_database_url
        return (
            None
            if url is None
            else Database(url, pool_size=self.settings.pool_size, actor_keys=self.actor_keys)
        )

    async def _published_keys(self) -> dict[str, Any]:
        return await published_keys(self.database)
