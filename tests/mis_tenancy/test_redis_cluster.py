"""Three primaries in one Redis' place: each tenant on one node, whose death is no other tenant's business."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from mis_tenancy.identifiers import new_id
from mis_tenancy.quotas import Limiter
from mis_tenancy.redis import Redis, RedisReplyError, RedisUnavailable, tenant_key
from mis_tenancy.redis.address import addresses_of
from mis_tenancy.redis.metrics import RedisMetrics
from mis_tenancy.redis.slots import slot_of
from mis_tenancy.redis.view import moved_to
from mis_tenancy.replicas.positions import Positions
from mis_tenancy.settings import SettingsError
from mis_tenancy.tenant import Tenant
from tests.mis_tenancy.redis_fixtures import (
    PATIENT,
    UsageLedger,
    a_tenant,
    connected,
    eventually,
    redis_server,
)
from tests.redis_cluster import RedisCluster, empty_node, redis_cluster, until

AWKWARD = ["a:b", "a}", "{", "}", "{}", "{}x", "x{y}z{w}", "{{y}}", "a\nb", "", "é", "{a:10.0.0.1}:burst"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture
def mortal() -> Iterator[RedisCluster]:
    """A cluster with a replica of each primary, whose nodes the test may kill."""
    with redis_cluster(replicas=1, timeout_ms=1_000) as cluster:
        yield cluster


def tenant_on(cluster: RedisCluster, number: int, daily: int | None = 100) -> Tenant:
    """Return a tenant whose keys are on the numbered primary."""
    while True:
        tenant = a_tenant(daily=daily)
        if cluster.number_of(slot_of(tenant_key(tenant.id))) == number:
            return tenant


async def modes(limiter: Limiter, tenant: Tenant, requests: int = 1) -> Counter[str]:
    """Send that many requests at once; return how many were decided by all together and how many here."""
    answers = await asyncio.gather(*(limiter.admit(tenant, daily_exempt=False) for _ in range(requests)))
    return Counter(answer.mode for answer in answers)


async def until_shared(limiter: Limiter, tenant: Tenant) -> None:
    async with asyncio.timeout(60):
        while await modes(limiter, tenant) != {"shared": 1}:  # noqa: ASYNC110  # the servers', which send none
            await asyncio.sleep(0.02)


def test_slots_are_those_that_the_server_reckons(cluster: RedisCluster) -> None:
    """Catalogue 108."""
    keys = [*AWKWARD, *(tenant_key(new_id(), part) for part in AWKWARD)]
    assert [slot_of(key) for key in keys] == [cluster.primaries[0].ask("CLUSTER", "KEYSLOT", k) for k in keys]


async def test_a_tenants_keys_are_on_one_node_and_tenants_on_all(cluster: RedisCluster) -> None:
    """Catalogue 108."""
    tenants = [uuid4() for _ in range(60)]
    async with connected(cluster.url) as redis:
        keys = [tenant_key(tenant, part) for tenant in tenants for part in ("a", "a}b", "{")]
        await asyncio.gather(*(redis.command("SET", key, key, "EX", 60) for key in keys))
        assert await asyncio.gather(*(redis.command("GET", key) for key in keys)) == [
            k.encode() for k in keys
        ]
        assert redis.redirections == 0
    places = {tenant: set[int]() for tenant in tenants}
    for number, node in enumerate(cluster.primaries):
        for key in node.ask("KEYS", "{*"):
            if (tenant := UUID(key.decode()[1:37])) in places:
                places[tenant].add(number)
    assert {len(numbers) for numbers in places.values()} == {1}
    assert set.union(*places.values()) == {0, 1, 2}


async def test_each_node_gets_a_script_when_it_does_not_know_it(cluster: RedisCluster) -> None:
    """Catalogue 106."""
    keys = [tenant_key(tenant_on(cluster, number).id) for number in range(3)]
    async with connected(cluster.url) as redis:
        script = redis.script("return {KEYS[1], ARGV[2]}")
        for _ in range(2):
            for node in cluster.primaries:
                node.ask("SCRIPT", "FLUSH")
            answers = await asyncio.gather(*(script.run(key, n) for n in range(50) for key in keys))
            assert answers == [[key.encode(), str(n).encode()] for n in range(50) for key in keys]
        assert len({redis.generation(key) for key in keys}) == 3


async def test_of_parallel_requests_over_four_clients_exactly_the_limit_passes(cluster: RedisCluster) -> None:
    """Catalogue 101."""
    tenants, ledger = [tenant_on(cluster, number) for number in range(3)], UsageLedger()
    clients = [Redis(cluster.url, PATIENT) for _ in range(4)]
    await asyncio.gather(*(client.start() for client in clients))
    limiters = [Limiter(client, ledger, 4) for client in clients]
    asked = [
        one.admit(tenant, daily_exempt=False) for one in limiters for tenant in tenants for _ in range(60)
    ]
    answers = await asyncio.gather(*asked)
    await asyncio.gather(*(client.stop() for client in clients))
    assert sum(answer.admitted for answer in answers) == 300
    assert {answer.mode for answer in answers} == {"shared"}


async def test_a_scan_finds_the_keys_of_every_node_and_unlink_removes_them(cluster: RedisCluster) -> None:
    name = uuid4().hex
    tenants = [tenant_on(cluster, number).id for number in range(3)]
    async with connected(cluster.url) as redis:
        for tenant in tenants:
            await asyncio.gather(
                *(redis.command("SET", tenant_key(tenant, name, str(n)), 1) for n in range(30))
            )
        own = [key async for some in redis.scan(f"{tenant_key(tenants[0])}:*") for key in some]
        assert set(own) == {tenant_key(tenants[0], name, str(n)).encode() for n in range(30)}
        everything = [key async for some in redis.scan(f"{{*}}:{name}:*") for key in some]
        assert len(set(everything)) == 90
        assert await redis.unlink(everything) == 90
        assert [some async for some in redis.scan(f"{{*}}:{name}:*")] == []


async def test_a_message_is_heard_whichever_node_it_was_told(cluster: RedisCluster) -> None:
    channel, heard = uuid4().hex, Counter[str]()
    async with connected(cluster.url) as one, connected(cluster.url) as other:
        await one.subscribe(channel, lambda payload: heard.update([payload.decode()]))
        await eventually(lambda: listening(cluster, channel) is not None)
        for node in cluster.primaries:
            node.ask("PUBLISH", channel, "by hand")
        await other.publish(channel, "published")
        other.wake(channel)
        await eventually(lambda: heard == {"by hand": 3, "published": 1, "": 1})


def listening(cluster: RedisCluster, channel: str) -> int | None:
    """Return the number of the primary at which somebody listens, if there is one."""
    for number, node in enumerate(cluster.primaries):
        with node.client(socket_timeout=5) as client:
            if client.execute_command("PUBSUB", "NUMSUB", channel)[1]:
                return number
    return None


async def test_a_slot_that_moves_costs_no_command_and_no_count(cluster: RedisCluster) -> None:
    """The node that a key leaves sends its commands on, first one by one, then for good."""
    tenant, ledger, stays = tenant_on(cluster, 0), UsageLedger(), tenant_on(cluster, 1)
    counter, fresh = tenant_key(tenant.id, "counter"), tenant_key(tenant.id, "fresh")
    slot, source, target = slot_of(counter), cluster.primaries[0], cluster.primaries[1]
    async with connected(cluster.url) as redis:
        limiter, positions = Limiter(redis, ledger, 1), Positions(redis)
        before = redis.generation(counter)

        async def step(expected: int) -> None:
            assert await asyncio.gather(*(redis.command("INCR", counter) for _ in range(10)))
            assert await redis.command("GET", counter) == str(expected).encode()
            assert await modes(limiter, tenant, 10) == {"shared": 10}
            await positions.note(tenant.id, expected)
            assert await modes(limiter, stays) == {"shared": 1}

        await step(10)
        assert await positions.of(tenant.id) == 10
        cluster.begin_to_move(slot, source, target)
        await step(20)
        assert await redis.command("SET", fresh, "x") == b"OK"
        assert source.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 3
        assert redis.redirections > 0
        cluster.move_keys(slot, source, target)
        await step(30)
        cluster.end_move(slot, target)
        await step(40)
        assert await positions.of(tenant.id) == 40
        assert redis.generation(counter) not in (0, before)
        assert await redis.command("GET", fresh) == b"x"
        # Forty requests have passed on the way, and sixty more do.
        answers = await asyncio.gather(*(limiter.admit(tenant, daily_exempt=False) for _ in range(100)))
        assert Counter(answer.admitted for answer in answers) == {True: 60, False: 40}


async def test_a_node_that_hangs_is_given_up_for_its_tenants_alone(cluster: RedisCluster) -> None:
    """Catalogue 106."""
    async with connected(cluster.url, 0.5) as redis:
        limiter = Limiter(redis, UsageLedger(), 1)
        stricken, others = tenant_on(cluster, 2), [tenant_on(cluster, number) for number in (0, 1)]
        for tenant in (stricken, *others):
            await until_shared(limiter, tenant)
        cluster.primaries[2].hang()
        try:
            assert await modes(limiter, stricken, 5) == {"local": 5}
            assert not redis.available
            registry = CollectorRegistry()
            registry.register(RedisMetrics("user", redis))
            shown = {
                state: registry.get_sample_value("mis_redis_nodes", {"service": "user", "state": state})
                for state in ("answering", "away")
            }
            assert shown == {"answering": 2, "away": 1}
            with pytest.raises(RedisUnavailable):
                await redis.command("GET", tenant_key(stricken.id))
            with pytest.raises(RedisUnavailable):
                [some async for some in redis.scan("*")]
            assert [await modes(limiter, tenant, 5) for tenant in others] == [{"shared": 5}] * 2
        finally:
            cluster.primaries[2].resume()
        await until_shared(limiter, stricken)
        await eventually(lambda: redis.available)
        await asyncio.to_thread(until, cluster.is_whole)


async def test_a_nodes_death_is_felt_by_its_tenants_alone_until_its_replica_takes_over(
    mortal: RedisCluster,
) -> None:
    """Catalogue 106."""
    channel, heard = uuid4().hex, list[bytes]()
    async with connected(mortal.url) as redis:
        await redis.subscribe(channel, heard.append)
        await eventually(lambda: listening(mortal, channel) is not None)
        dead = listening(mortal, channel) or 0
        stricken, other = tenant_on(mortal, dead), tenant_on(mortal, (dead + 1) % 3)
        ledger = UsageLedger()
        limiter, positions = Limiter(redis, ledger, 2), Positions(redis)
        assert await modes(limiter, stricken, 30) == {"shared": 30}
        assert await modes(limiter, other, 30) == {"shared": 30}
        await positions.note(stricken.id, 7)
        assert await positions.of(stricken.id) == 7
        before = redis.generation(tenant_key(stricken.id))

        mortal.primaries[dead].kill()
        await eventually(lambda: not redis.available)
        assert await modes(limiter, stricken, 5) == {"local": 5}
        assert await positions.of(stricken.id) is None
        assert await modes(limiter, other, 5) == {"shared": 5}
        # Wake-ups go by another node at once.
        await eventually(lambda: listening_of_the_living(mortal, channel, dead))
        redis.wake(channel)
        await eventually(lambda: heard == [b""])

        # Other processes have counted meanwhile; the replica cannot know.
        ledger.counted, questions = 90, len(ledger.questions)
        heir = await asyncio.to_thread(mortal.until_taken_over, dead)
        await until_shared(limiter, stricken)
        assert len(ledger.questions) > questions
        assert f"127.0.0.1:{heir.port}" in redis.nodes
        await eventually(lambda: redis.available)
        assert redis.generation(tenant_key(stricken.id)) not in (0, before)
        answers = await asyncio.gather(*(limiter.admit(stricken, daily_exempt=False) for _ in range(50)))
        assert Counter(answer.admitted for answer in answers) == {True: 9, False: 41}
        assert limiter.local_decisions >= 5
        # What the replica has of positions is another run's, and counts for nothing until the next write.
        assert await positions.of(stricken.id) is None
        await positions.note(stricken.id, 8)
        assert await positions.of(stricken.id) == 8

        mortal.primaries[dead].start()
        await eventually(lambda: mortal.primaries[dead].ask("INFO", "replication")["role"] == "slave")
        assert await modes(limiter, stricken) == {"shared": 1}
    # A process that starts now finds all through the one that came back, which answers for nothing.
    async with connected(mortal.url_of([mortal.primaries[dead]])) as newcomer:
        assert newcomer.available
        assert f"127.0.0.1:{heir.port}" in newcomer.nodes


def listening_of_the_living(cluster: RedisCluster, channel: str, dead: int) -> bool:
    living = [node for number, node in enumerate(cluster.primaries) if number != dead]
    return any(node.ask("PUBSUB", "NUMSUB", channel)[1] for node in living)


async def test_a_cluster_is_found_through_whichever_seed_is_there(cluster: RedisCluster) -> None:
    away = "127.0.0.1:1"
    user, _, hosts = cluster.url_of(cluster.primaries[1:2]).rpartition("@")
    async with connected(f"{user}@{away},{hosts}") as redis:
        assert redis.available
        assert len(redis.nodes) == 3


async def test_a_seed_that_was_reset_hides_the_cluster_from_nobody(cluster: RedisCluster) -> None:
    """Such a node answers, and knows of no slot and of nobody."""
    user, _, hosts = cluster.url_of(cluster.primaries[:1]).rpartition("@")
    with empty_node() as node:
        async with connected(f"{user}@127.0.0.1:{node.port},{hosts}") as redis:
            assert redis.available
            assert len(redis.nodes) == 3
        async with connected(f"{user}@127.0.0.1:{node.port}") as nothing:
            assert not nothing.available
            with pytest.raises(RedisUnavailable):
                [some async for some in nothing.scan("*")]


@pytest.mark.parametrize("text", ["MOVED", "MOVED 1", "MOVED x 10.0.0.1:1", "ASK 1 10.0.0.1", "ERR no"])
def test_what_is_no_redirection_is_the_callers_error(text: str) -> None:
    with pytest.raises(RedisReplyError, match=text):
        moved_to(RedisReplyError(text))


async def test_start_returns_while_the_cluster_is_away_and_finds_it_later() -> None:
    with redis_cluster() as cluster:
        for node in cluster.primaries:
            node.kill()
        async with connected(cluster.url) as redis:
            assert not redis.available
            with pytest.raises(RedisUnavailable):
                await redis.command("GET", "k")
            with pytest.raises(RedisUnavailable):
                await redis.publish("channel", "x")
            redis.wake("channel")
            for node in cluster.primaries:
                node.start()
            await eventually(lambda: redis.available)
            async with asyncio.timeout(60):
                # A node that starts takes two seconds before it believes the others.
                while not await answers(redis, "k"):  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.05)
            await hears_on_after_the_death_of_the_node_it_listens_at(cluster, redis)


async def hears_on_after_the_death_of_the_node_it_listens_at(cluster: RedisCluster, redis: Redis) -> None:
    """No replica takes its place here, so that another node must."""
    heard: list[bytes] = []
    await redis.subscribe("news", heard.append)
    await eventually(lambda: listening(cluster, "news") is not None)
    dead = listening(cluster, "news") or 0
    cluster.primaries[dead].kill()
    await eventually(lambda: listening_of_the_living(cluster, "news", dead))
    redis.wake("news")
    await eventually(lambda: heard == [b""])


async def answers(redis: Redis, key: str) -> bool:
    try:
        return bool(await redis.command("SET", key, "v") == b"OK")
    except Exception:
        return False


async def test_a_url_that_is_wrong_about_the_server_is_refused_at_start(cluster: RedisCluster) -> None:
    user, _, hosts = cluster.url.partition("://")[2].rpartition("@")
    with pytest.raises(SettingsError, match=r"node of a cluster\. Write redis\+cluster://"):
        await Redis(f"redis://{user}@{hosts.split(',')[0]}", PATIENT).start()
    with redis_server() as server, pytest.raises(SettingsError, match=r"a Redis alone\. Write redis://"):
        await Redis(f"redis+cluster://127.0.0.1:{server.port}", PATIENT).start()


async def test_a_run_as_primary_ends_with_it_though_the_server_runs_on(cluster: RedisCluster) -> None:
    with redis_server() as server:
        async with connected(server.url) as redis:
            before = redis.generation("k")
            server.ask("REPLICAOF", "127.0.0.1", cluster.primaries[0].port)
            await eventually(lambda: not redis.available)
            server.ask("REPLICAOF", "NO", "ONE")
            await eventually(lambda: redis.available)
            assert redis.generation("k") not in (0, before)


def test_a_clusters_url_names_its_nodes_once_and_one_way_in() -> None:
    found = addresses_of("rediss+cluster://ada:a%40b%2C@[::1]:7000, redis-1,redis-1:6379?ssl_cert_reqs=none")
    assert [str(address) for address in found] == ["::1:7000", "redis-1:6379"]
    assert {(one.username, one.password, one.database, one.is_of_cluster) for one in found} == {
        ("ada", "a@b,", 0, True)
    }
    assert all(address.tls is not None for address in found)
    assert "a@b" not in repr(found)
    assert not addresses_of("redis://one:7000/3")[0].is_of_cluster


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+cluster://", "lacks a host"),
        ("redis+cluster://a:1,,b:2", "lacks a host"),
        ("redis+cluster://a:1,b:2/3", "none but 0"),
        ("redis+cluster://a:1,b:2?db=1", "none but 0"),
        ("redis+cluster://a:1,b:2?nodes=3", "mean nothing here: nodes"),
        ("redis+cluster://a:1,b:x", "not of the form"),
        ("redis+cluster://:top/secret@a:1", "not of the form"),
        ("redis+clusters://a:1", "not of the form"),
        ("unix+cluster:///tmp/socket", "not of the form"),
        ("redis://a:1,b:2", r"a cluster's nodes go into redis\+cluster://"),
    ],
)
def test_a_clusters_url_that_cannot_be_honoured_is_refused_with_the_way_out(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as refused:
        Redis(url, PATIENT)
    assert str(refused.value).startswith("MIS_REDIS_URL")
    assert "secret" not in str(refused.value)
