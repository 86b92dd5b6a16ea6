"""The shared connection to Redis: no answer goes astray, and no fault of Redis lasts or costs much."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.redis import Redis, RedisReplyError, RedisUnavailable, address_key, tenant_key
from mis_tenancy.redis.address import Address
from mis_tenancy.redis.wire import MAX_WAITING
from mis_tenancy.settings import SettingsError
from tests.mis_tenancy.redis_fixtures import (
    PATIENT,
    RedisServer,
    connected,
    eventually,
    free_port,
    proxy_to,
    redis_server,
)

AWKWARD = ["a:b", "a}", "{", "}", "a\nb", "", "%", "%3A", "é", "x" * 255, "a b", "*", "?", "[a]"]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with redis_server() as server:
        yield server


async def test_each_of_many_concurrent_commands_gets_its_own_answer(shared_server: RedisServer) -> None:
    async with connected(shared_server.url) as redis:
        answers = await asyncio.gather(*(redis.command("ECHO", str(n)) for n in range(2_000)))
    assert answers == [str(n).encode() for n in range(2_000)]


async def test_five_thousand_cancelled_commands_mix_up_no_answer(shared_server: RedisServer) -> None:
    """Catalogue 107."""
    choice = random.Random(107)  # picks whom to cancel, and when
    with shared_server.client() as client:
        client.mset({f"canary:{n}": f"value-{n}" for n in range(100)})

    async def read(redis: Redis, n: int) -> bool:
        for _ in range(choice.randrange(3)):
            await asyncio.sleep(0)
        return bool(await redis.command("GET", f"canary:{n}") == f"value-{n}".encode())

    outcomes: list[bool | BaseException] = []
    async with connected(shared_server.url) as redis:
        for _ in range(200):
            tasks = [asyncio.create_task(read(redis, n)) for n in range(100)]
            for _ in range(choice.randrange(4)):
                await asyncio.sleep(0)
            for victim in choice.sample(tasks, 50):
                victim.cancel()
            outcomes += await asyncio.gather(*tasks, return_exceptions=True)
        assert await redis.command("ECHO", "still in step") == b"still in step"
    answered = [outcome for outcome in outcomes if not isinstance(outcome, asyncio.CancelledError)]
    assert answered == [True] * len(answered)
    assert len(outcomes) - len(answered) > 5_000


async def test_an_error_reply_reaches_only_its_caller(shared_server: RedisServer) -> None:
    async with connected(shared_server.url) as redis:
        answers: list[object] = await asyncio.gather(
            redis.command("ECHO", "1"),
            redis.command("NO-SUCH-COMMAND"),
            redis.command("ECHO", "2"),
            return_exceptions=True,
        )
        assert (answers[0], answers[2]) == (b"1", b"2")
        assert isinstance(answers[1], RedisReplyError)
        assert answers[1].code == "ERR"
        assert redis.available


async def test_a_command_that_cannot_be_sent_leaves_the_others_in_step(shared_server: RedisServer) -> None:
    async with connected(shared_server.url) as redis:
        first = asyncio.ensure_future(redis.command("ECHO", "1"))
        with pytest.raises(TypeError):
            await redis.command("ECHO", object())  # type: ignore[arg-type]
        assert await redis.command("ECHO", "2") == b"2"
        assert await first == b"1"


async def test_a_script_survives_a_script_flush(shared_server: RedisServer) -> None:
    """Catalogue 106."""
    async with connected(shared_server.url) as redis:
        script = redis.script("return {KEYS[1], ARGV[2]}")
        assert await script.run("k", "a") == [b"k", b"a"]
        shared_server.ask("SCRIPT", "FLUSH")
        answers = await asyncio.gather(*(script.run("k", n) for n in range(100)))
        assert answers == [[b"k", str(n).encode()] for n in range(100)]
        assert await script.run("k", "b") == [b"k", b"b"]


async def test_a_script_s_own_error_is_raised(shared_server: RedisServer) -> None:
    async with connected(shared_server.url) as redis:
        with pytest.raises(RedisReplyError, match="broken"):
            await redis.script("return redis.error_reply('ERR broken')").run("k")


async def test_user_password_and_database_of_the_url_are_used(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "ada", "on", ">s3cret@", "~*", "+@all")
    async with connected(f"redis://ada:s3cret%40@127.0.0.1:{server.port}/3") as redis:
        assert await redis.command("ACL", "WHOAMI") == b"ada"
        await redis.command("SET", "k", "v")
    with server.client(db=3) as client:
        assert client.get("k") == b"v"


async def test_a_wrong_password_makes_redis_unavailable_and_stays_out_of_texts(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "requirepass", "right")
    url = f"redis://:wrong@127.0.0.1:{server.port}"
    async with connected(url) as redis:
        assert not redis.available
        with pytest.raises(RedisUnavailable):
            await redis.command("PING")
    assert "wrong" not in repr(Address.parse(url))


async def test_a_user_who_may_not_ask_for_info_is_served_all_the_same(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "narrow", "on", "nopass", "~*", "+@all", "-info")
    async with connected(f"redis://narrow:x@127.0.0.1:{server.port}") as redis:
        assert await redis.command("ECHO", "1") == b"1"
        assert redis.generation("k") == 1


async def test_a_unix_socket_serves(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with redis_server("--unixsocket", str(path)) as server:
        async with connected(f"unix://{path}?db=2") as redis:
            # Redis listens on its port before it makes the socket.
            await eventually(lambda: redis.available)
            await redis.command("SET", "k", "v")
        with server.client(db=2) as client:
            assert client.get("k") == b"v"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "redis://localhost/db?db=x",
        "redis://localhost?max_connections=3",
        "rediss://localhost?ssl_ca_certs=/no/such/file",
    ],
)
def test_a_url_that_cannot_be_honoured_is_refused_at_construction(url: str) -> None:
    with pytest.raises(SettingsError, match="MIS_REDIS_URL"):
        Redis(url, PATIENT)


async def test_start_returns_while_redis_is_away_and_finds_it_later(server: RedisServer) -> None:
    server.kill()
    async with connected(server.url) as redis:
        assert not redis.available
        assert redis.generation("k") == 0
        with pytest.raises(RedisUnavailable):
            await redis.command("PING")
        server.start()
        await eventually(lambda: redis.available)
        assert await redis.command("ECHO", "back") == b"back"


async def test_a_killed_redis_fails_what_waits_and_serves_again_after_its_restart(
    server: RedisServer,
) -> None:
    """Catalogue 106."""
    async with connected(server.url) as redis:
        before = redis.generation("k")
        server.hang()
        waiting = [asyncio.ensure_future(redis.command("ECHO", "x")) for _ in range(10)]
        await asyncio.sleep(0)
        server.kill()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} == {RedisUnavailable}
        server.start()
        await eventually(lambda: redis.available)
        assert await redis.command("ECHO", "back") == b"back"
        assert redis.generation("k") not in (0, before)


async def test_a_hanging_redis_is_given_up_once_and_not_waited_for_again(server: RedisServer) -> None:
    """Catalogue 106."""
    async with connected(server.url, 0.5) as redis:
        server.hang()
        with pytest.raises(RedisUnavailable, match="in time"):
            await redis.command("INCR", "counted")
        # Without a connection nothing is awaited: the next answer is there before the loop turns.
        with pytest.raises(RedisUnavailable):
            redis.submit("INCR", "counted")
        server.resume()
        await eventually(lambda: redis.available)
        # The server may have run the command that timed out; the client never sends it again.
        assert await redis.command("GET", "counted") in (None, b"1")


async def test_a_redis_that_answers_too_late_is_left_alone_until_it_is_quick_again(
    shared_server: RedisServer,
) -> None:
    """Catalogue 106."""
    late = [0.0]
    async with (
        proxy_to(shared_server.port, lambda: late[0]) as port,
        connected(f"redis://127.0.0.1:{port}", 0.5) as redis,
    ):
        assert await redis.command("ECHO", "1") == b"1"
        late[0] = 0.9
        with pytest.raises(RedisUnavailable):
            await redis.command("ECHO", "2")
        assert not redis.available
        late[0] = 0.0
        await eventually(lambda: redis.available)
        assert await redis.command("ECHO", "3") == b"3"


async def test_a_replica_is_not_used_until_it_is_promoted(server: RedisServer) -> None:
    """Catalogue 106."""
    async with connected(server.url) as redis:
        server.ask("REPLICAOF", "127.0.0.1", free_port())
        with pytest.raises(RedisReplyError, match="READONLY"):
            await redis.command("SET", "k", "v")
        await eventually(lambda: not redis.available)
        async with connected(server.url) as newcomer:
            assert not newcomer.available
        server.ask("REPLICAOF", "NO", "ONE")
        await eventually(lambda: redis.available)
        assert await redis.command("SET", "k", "v") == b"OK"


async def test_commands_past_the_bound_are_refused_and_the_others_answered(
    shared_server: RedisServer,
) -> None:
    async with connected(shared_server.url) as redis:
        waiting = [redis.submit("ECHO", n) for n in range(MAX_WAITING)]
        with pytest.raises(RedisUnavailable):
            redis.submit("ECHO", "one too many")
        assert await asyncio.gather(*waiting) == [str(n).encode() for n in range(MAX_WAITING)]


async def test_stopping_fails_what_still_waits(server: RedisServer) -> None:
    async with connected(server.url) as redis:
        server.hang()
        waiting = redis.submit("PING")
        await redis.stop()
        with pytest.raises(RedisUnavailable):
            await waiting


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n+OK\r\n", b""])
async def test_a_server_that_is_no_redis_is_unavailable(nonsense: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(nonsense)
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener, connected(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as redis:
        assert not redis.available


async def test_a_subscriber_hears_each_channel_also_after_a_reconnect(server: RedisServer) -> None:
    heard: list[tuple[str, bytes]] = []
    async with connected(server.url) as redis:
        await redis.subscribe("one", lambda payload: heard.append(("one", payload)))
        await redis.subscribe("two", lambda payload: heard.append(("two", payload)))
        await eventually(lambda: server.ask("PUBSUB", "NUMSUB", "one", "two") == [b"one", 1, b"two", 1])
        await redis.publish("one", "a")
        await redis.publish("two", b"b")
        await eventually(lambda: heard == [("one", b"a"), ("two", b"b")])
        server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: server.ask("PUBSUB", "NUMSUB", "one", "two") == [b"one", 1, b"two", 1])
        await redis.publish("one", "c")
        await eventually(lambda: heard[2:] == [("one", b"c")])


async def test_a_listener_s_mistake_costs_no_one_else_a_message(shared_server: RedisServer) -> None:
    heard: list[bytes] = []

    def fail(payload: bytes) -> None:
        raise RuntimeError(payload)

    async with connected(shared_server.url) as redis:
        await redis.subscribe("bad", fail)
        await redis.subscribe("good", heard.append)
        await eventually(lambda: shared_server.ask("PUBSUB", "NUMSUB", "good", "bad")[1::2] == [1, 1])
        await redis.publish("bad", "x")
        await redis.publish("good", "y")
        await eventually(lambda: heard == [b"y"])


@given(st.lists(st.text() | st.sampled_from(AWKWARD)), st.lists(st.text() | st.sampled_from(AWKWARD)))
def test_different_parts_never_make_the_same_key(one: list[str], other: list[str]) -> None:
    """Catalogue 108."""
    tenant = UUID(int=1)
    assert (tenant_key(tenant, *one) == tenant_key(tenant, *other)) == (one == other)


@given(st.uuids(), st.lists(st.text() | st.sampled_from(AWKWARD), min_size=1))
def test_the_hash_tag_of_every_key_is_the_tenant_s_id(tenant: UUID, parts: list[str]) -> None:
    """Catalogue 108."""
    key = tenant_key(tenant, *parts)
    # Redis Cluster takes what stands between the first brace and the next closing one.
    assert key.partition("{")[2].partition("}")[0] == str(tenant)
    assert "\n" not in key


@given(st.text() | st.sampled_from(AWKWARD), st.uuids())
def test_an_address_s_key_is_never_a_tenant_s(network: str, tenant: UUID) -> None:
    """Catalogue 108."""
    key = address_key(network)
    assert key.startswith("{a:")
    assert key.count("{") == key.count("}") == 1
    assert not key.startswith(tenant_key(tenant))


def test_a_scan_by_one_tenant_s_prefix_finds_no_other_tenant(shared_server: RedisServer) -> None:
    """Catalogue 108."""
    mine, other = uuid4(), uuid4()
    keys = {tenant_key(mine, part) for part in AWKWARD}
    with shared_server.client() as client:
        client.mset(dict.fromkeys(keys | {tenant_key(other, part) for part in AWKWARD}, "1"))
        found = {key.decode() for key in client.scan_iter(f"{tenant_key(mine)}:*")}
    assert found == keys
