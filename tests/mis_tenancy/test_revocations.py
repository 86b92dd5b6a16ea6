"""The revocation feed: nothing is missed, however late it commits and whoever is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_tenancy.errors import TenantUnavailable
from mis_tenancy.identifiers import new_id
from mis_tenancy.revocations import Kind, RevocationFeed, revoke
from mis_tenancy.tables import RevocationRow
from mis_tenancy.tenant import Principal, PrincipalKind
from tests.database import CountingProxy, connected
from tests.mis_tenancy.conftest import Teams


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 0.000_001
        return self.now


HOME = new_id()


class Bus:
    """Wake-ups between the feeds of one test; `deaf` loses them, `away` raises as a dead Redis does."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[bytes], None]] = []
        self.deaf = self.away = False
        self.published = 0

    async def publish(self, channel: str, payload: str) -> None:
        if self.away:
            raise ConnectionRefusedError
        self.published += 1
        if not self.deaf:
            for callback in self.callbacks:
                callback(payload.encode())

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self.callbacks.append(callback)


@pytest.fixture
async def platform(door_urls: DatabaseUrls, teams: Teams) -> AsyncIterator[asyncpg.Connection]:
    async with connected(door_urls.platform) as connection:
        yield connection


@pytest.fixture
async def feed(doors: Database) -> AsyncIterator[RevocationFeed]:
    """A feed that polls only when a test says so."""
    feed = RevocationFeed(doors, interval=3_600, stale_after=5)
    await feed.start()
    yield feed
    await feed.stop()


async def spread(
    connection: asyncpg.Connection, kind: Kind, subject: UUID | None = None, epoch: int | None = None
) -> UUID:
    """Insert news, of a tenant about itself or of something at home, and return its subject."""
    subject = subject or new_id()
    tenant_id = subject if kind is Kind.TENANT else HOME
    sql = "insert into revocations (id, kind, tenant_id, subject, epoch) values ($1, $2, $3, $4, $5)"
    await connection.execute(sql, new_id(), kind.value, tenant_id, subject, epoch)
    return subject


def member(**members: Any) -> Principal:
    someone: dict[str, Any] = {"id": new_id(), "kind": PrincipalKind.MEMBER, "tenant_id": HOME}
    return Principal(**someone | members)


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until `holds`; how long is no verdict, never is."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # what is awaited belongs to another task
            await asyncio.sleep(0.005)


async def test_ended_sessions_and_keys_are_revoked(
    feed: RevocationFeed, platform: asyncpg.Connection
) -> None:
    session, key = await spread(platform, Kind.SESSION), await spread(platform, Kind.KEY)
    await feed.poll()
    assert feed.is_revoked(member(session_id=session))
    assert feed.is_revoked(member(id=key, kind=PrincipalKind.API_KEY))
    assert not feed.is_revoked(member(session_id=new_id()))
    assert not feed.is_revoked(member())


async def test_tokens_below_a_users_or_tenants_epoch_are_revoked(
    feed: RevocationFeed, platform: asyncpg.Connection
) -> None:
    user, tenant = await spread(platform, Kind.USER, epoch=3), await spread(platform, Kind.TENANT, epoch=2)
    await feed.poll()
    assert feed.is_revoked(member(id=user, user_epoch=2))
    assert not feed.is_revoked(member(id=user, user_epoch=3))
    assert feed.is_revoked(member(tenant_id=tenant, tenant_epoch=1))
    assert not feed.is_revoked(member(tenant_id=tenant, tenant_epoch=2))
    assert not feed.is_revoked(Principal(new_id(), PrincipalKind.OPERATOR))


async def test_one_tenants_news_of_an_id_ends_no_token_of_anothers_with_that_id(
    feed: RevocationFeed, platform: asyncpg.Connection
) -> None:
    """A tenant may bring users in under ids of its choice."""
    user = await spread(platform, Kind.USER, epoch=3)
    tenant = await spread(platform, Kind.USER, epoch=3)
    await feed.poll()
    assert feed.is_revoked(member(id=user, user_epoch=0))
    assert not feed.is_revoked(member(id=user, user_epoch=0, tenant_id=new_id()))
    assert not feed.is_revoked(member(tenant_id=tenant, tenant_epoch=0))
    operator = Principal(user, PrincipalKind.OPERATOR)
    assert not feed.is_revoked(operator)
    assert not feed.is_revoked(replace(operator, tenant_id=HOME))


async def test_an_operator_whose_tokens_end_is_out_everywhere(feed: RevocationFeed) -> None:
    operator = Principal(new_id(), PrincipalKind.OPERATOR)
    row = RevocationRow(id=new_id(), kind=Kind.USER.value, tenant_id=None, subject=operator.id, epoch=1)
    await feed.hear([row])
    assert feed.is_revoked(operator)
    assert feed.is_revoked(replace(operator, tenant_id=HOME))
    assert not feed.is_revoked(replace(operator, user_epoch=1))


async def test_an_epoch_never_falls(feed: RevocationFeed, platform: asyncpg.Connection) -> None:
    user = await spread(platform, Kind.USER, epoch=5)
    await spread(platform, Kind.USER, user, epoch=4)
    await feed.poll()
    await spread(platform, Kind.USER, user, epoch=1)
    await feed.poll()
    assert feed.is_revoked(member(id=user, user_epoch=4))


async def test_news_of_a_tenant_without_an_epoch_ends_no_token_and_stales_its_cache(
    feed: RevocationFeed, platform: asyncpg.Connection
) -> None:
    staled: list[UUID] = []
    feed.on_tenant.append(staled.append)
    tenant = await spread(platform, Kind.TENANT)
    await feed.poll()
    assert staled.count(tenant) == 1
    assert type(staled[-1]) is UUID
    assert not feed.is_revoked(member(tenant_id=tenant))


async def test_listeners_hear_of_keys(feed: RevocationFeed, platform: asyncpg.Connection) -> None:
    dropped: list[UUID] = []
    reloads: list[None] = []

    async def reload() -> None:
        reloads.append(None)

    feed.on_key.append(dropped.append)
    feed.on_signing_key.append(reload)
    key = await spread(platform, Kind.KEY)
    await spread(platform, Kind.SIGNING_KEY)
    await feed.poll()
    assert dropped == [key]
    assert len(reloads) == 1


async def test_news_is_told_once(
    feed: RevocationFeed, platform: asyncpg.Connection, door_urls: DatabaseUrls
) -> None:
    told: list[UUID] = []
    feed.on_tenant.append(told.append)
    async with connected(door_urls.platform) as long, long.transaction():
        # An open transaction keeps the mark where it is, so the same rows are read again and again.
        await spread(long, Kind.SESSION)
        tenant = await spread(platform, Kind.TENANT)
        for _ in range(4):
            await feed.poll()
    await feed.poll()
    assert told.count(tenant) == 1


async def test_news_that_commits_long_after_later_news_is_still_heard(
    feed: RevocationFeed, platform: asyncpg.Connection, door_urls: DatabaseUrls
) -> None:
    """Rows become visible in the order of their commits, not of their times: no overlap in time would do."""
    async with connected(door_urls.platform) as slow:
        transaction = slow.transaction()
        await transaction.start()
        late = await spread(slow, Kind.SESSION)
        for _ in range(3):
            early = await spread(platform, Kind.SESSION)
            await feed.poll()
            assert feed.is_revoked(member(session_id=early))
            assert not feed.is_revoked(member(session_id=late))
        await transaction.commit()
    await feed.poll()
    assert feed.is_revoked(member(session_id=late))


async def test_news_open_while_the_process_started_is_heard(
    doors: Database, platform: asyncpg.Connection, door_urls: DatabaseUrls
) -> None:
    async with connected(door_urls.platform) as slow:
        transaction = slow.transaction()
        await transaction.start()
        late = await spread(slow, Kind.SESSION)
        feed = RevocationFeed(doors, interval=3_600)
        await feed.start()
        await transaction.commit()
    await feed.poll()
    assert feed.is_revoked(member(session_id=late))
    await feed.stop()


async def test_a_process_knows_the_news_from_before_its_start(
    doors: Database, platform: asyncpg.Connection
) -> None:
    session, user = await spread(platform, Kind.SESSION), await spread(platform, Kind.USER, epoch=2)
    feed = RevocationFeed(doors, interval=3_600)
    await feed.start()
    assert feed.is_revoked(member(session_id=session))
    assert feed.is_revoked(member(id=user, user_epoch=1))
    assert feed.is_fresh
    await feed.stop()


async def test_when_a_listener_fails_the_news_is_read_again(
    feed: RevocationFeed, platform: asyncpg.Connection
) -> None:
    failures = [True]

    async def reload() -> None:
        if failures.pop() if failures else False:
            raise ConnectionRefusedError

    feed.on_signing_key.append(reload)
    await spread(platform, Kind.SIGNING_KEY)
    session = await spread(platform, Kind.SESSION)
    with pytest.raises(ConnectionRefusedError):
        await feed.poll()
    # Time passes in the database: were the mark moved by the failed read, the session would be lost.
    await spread(platform, Kind.USER, epoch=1)
    await feed.poll()
    assert feed.is_revoked(member(session_id=session))


async def test_callers_that_arrive_while_a_read_runs_share_the_next_one(
    feed: RevocationFeed, platform: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = feed._read
    has_read, go_on = asyncio.Event(), asyncio.Event()

    async def counted(sql: str, since: float) -> None:
        nonlocal reads
        reads += 1
        await read(sql, since)
        has_read.set()
        await go_on.wait()

    monkeypatch.setattr(feed, "_read", counted)
    first = asyncio.create_task(feed.poll())
    await has_read.wait()
    session = await spread(platform, Kind.SESSION)
    others = [asyncio.create_task(feed.poll()) for _ in range(20)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *others)
    assert feed.is_revoked(member(session_id=session))
    assert reads == 2


async def test_polling_alone_carries_the_news(doors: Database, platform: asyncpg.Connection) -> None:
    """Redis away, or its message lost."""
    bus = Bus()
    bus.away = True
    feed = RevocationFeed(doors, bus, interval=0.02)
    await feed.start()
    feed.announce()
    session = await spread(platform, Kind.SESSION)
    await eventually(lambda: feed.is_revoked(member(session_id=session)))
    await feed.stop()


async def test_a_wake_up_carries_the_news_to_every_process_at_once(
    doors: Database, platform: asyncpg.Connection
) -> None:
    """With an interval of an hour, only the wake-up can have done it."""
    bus = Bus()
    feeds = [RevocationFeed(doors, bus, interval=3_600) for _ in range(3)]
    for feed in feeds:
        await feed.start()
    session = await spread(platform, Kind.SESSION)
    feeds[0].announce()
    await eventually(lambda: all(feed.is_revoked(member(session_id=session)) for feed in feeds))
    for feed in feeds:
        await feed.stop()


async def test_the_process_that_announces_wakes_itself_even_where_the_message_is_lost(
    doors: Database, platform: asyncpg.Connection
) -> None:
    bus = Bus()
    bus.deaf = True
    feed = RevocationFeed(doors, bus, interval=3_600)
    await feed.start()
    session = await spread(platform, Kind.SESSION)
    feed.announce()
    await eventually(lambda: feed.is_revoked(member(session_id=session)))
    await feed.stop()


async def test_a_stale_process_asks_before_it_trusts_what_it_knows(
    doors: Database, platform: asyncpg.Connection
) -> None:
    clock = Clock()
    feed = RevocationFeed(doors, interval=3_600, stale_after=1, clock=clock)
    await feed.start()
    session = await spread(platform, Kind.SESSION)
    await feed.confirm()
    assert not feed.is_revoked(member(session_id=session))
    clock.now += 1.1
    fresh = [feed.is_fresh]
    await feed.confirm()
    fresh.append(feed.is_fresh)
    assert fresh == [False, True]
    assert feed.is_revoked(member(session_id=session))
    await feed.stop()


async def test_a_stale_process_that_cannot_ask_refuses_to_serve_and_recovers(
    door_urls: DatabaseUrls, teams: Teams
) -> None:
    async with CountingProxy(door_urls.app) as proxy, connected(door_urls.platform) as platform:
        database = Database(proxy.url, pool_size=2)
        await database.start()
        feed = RevocationFeed(database, interval=0.02, stale_after=0.1)
        await feed.start()
        proxy.silence()
        await eventually(lambda: not feed.is_fresh)
        with pytest.raises(TenantUnavailable):
            await feed.confirm()
        # Postgres is reached again, though not over the connection on which the feed was waiting.
        proxy.heal()
        session = await spread(platform, Kind.SESSION)
        await eventually(lambda: feed.is_fresh and feed.is_revoked(member(session_id=session)))
        await feed.stop()
        await database.stop()


async def test_old_news_is_forgotten_once_no_token_can_be_that_old(
    doors: Database, platform: asyncpg.Connection
) -> None:
    clock = Clock()
    feed = RevocationFeed(doors, interval=3_600, clock=clock)
    await feed.start()
    session, user = await spread(platform, Kind.SESSION), await spread(platform, Kind.USER, epoch=1)
    await feed.poll()
    clock.now += 16 * 60
    await feed.poll()
    assert feed.is_revoked(member(session_id=session))
    clock.now += 16 * 60
    await feed.poll()
    assert not feed.is_revoked(member(session_id=session))
    assert not feed._epochs.get((HOME, user))
    await feed.stop()


async def test_a_change_is_announced_when_it_commits_and_not_before(doors: Database, teams: Teams) -> None:
    announced: list[None] = []
    doors.on_news = lambda: announced.append(None)
    async with doors.transaction(teams.a.id) as session:
        revoke(session, Kind.TENANT, tenant_id=teams.a.id)
        await session.flush()
        async with session.begin_nested():
            revoke(session, Kind.SESSION, new_id(), tenant_id=teams.a.id)
        assert not announced
    assert len(announced) == 1


async def test_a_change_is_announced_although_a_savepoint_after_it_failed(
    doors: Database, teams: Teams
) -> None:
    announced: list[None] = []
    doors.on_news = lambda: announced.append(None)
    async with doors.transaction(teams.a.id) as session:
        revoke(session, Kind.TENANT, tenant_id=teams.a.id)
        await session.flush()
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                raise ZeroDivisionError
    assert len(announced) == 1


async def test_a_change_taken_back_is_not_announced(doors: Database, teams: Teams) -> None:
    announced: list[None] = []
    doors.on_news = lambda: announced.append(None)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the block is what is taken back
        async with doors.transaction(teams.a.id) as session:
            revoke(session, Kind.TENANT, tenant_id=teams.a.id)
            await session.flush()
            raise ZeroDivisionError
    async with doors.transaction(teams.a.id):
        pass
    assert not announced


async def test_a_committed_revocation_is_in_force_after_the_next_read(
    doors: Database, feed: RevocationFeed, teams: Teams
) -> None:
    gone, user = new_id(), new_id()
    async with doors.transaction(teams.a.id) as session:
        revoke(session, Kind.SESSION, gone, tenant_id=teams.a.id)
        revoke(session, Kind.USER, user, tenant_id=teams.a.id, epoch=7)
    await feed.poll()
    assert feed.is_revoked(member(session_id=gone))
    assert feed.is_revoked(member(id=user, user_epoch=6, tenant_id=teams.a.id))
