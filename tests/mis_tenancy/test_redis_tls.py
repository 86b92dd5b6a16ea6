"""Redis over TLS, alone and as a cluster: verified by name and authority, or refused in words."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from mis_tenancy.quotas import Limiter
from mis_tenancy.redis import Redis, tenant_key
from mis_tenancy.redis.slots import slot_of
from mis_tenancy.settings import SettingsError
from tests.certificates import Authority
from tests.mis_tenancy.redis_fixtures import (
    PATIENT,
    UsageLedger,
    a_tenant,
    connected,
    eventually,
    proxy_to,
    redis_server,
)
from tests.redis_tls import RIGHTS, TlsCluster, behind_tls, by_itself

DOCUMENT = Path(__file__).parents[2] / "docs" / "poolers-and-clusters.md"
IS_OVER = timedelta(hours=-1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module", params=["embedded-behind-tls", "speaking-tls"])
async def cluster(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[TlsCluster]:
    if request.param == "speaking-tls":
        with by_itself(authority) as cluster:
            yield cluster
    else:
        async with behind_tls(authority, authority.serving("127.0.0.1"), "127.0.0.1") as cluster:
            yield cluster


@asynccontextmanager
async def alone(serving: ssl.SSLContext) -> AsyncIterator[int]:
    """Yield the port of a Redis alone behind TLS."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis_server())
        yield await stack.enter_async_context(proxy_to(server.port, lambda: 0, serving))


async def test_limits_hold_and_news_travel_over_tls_as_a_user_with_no_more_rights_than_documented(
    cluster: TlsCluster,
) -> None:
    """Catalogue 101, 108."""
    assert RIGHTS in " ".join(DOCUMENT.read_text().split())
    tenants, heard = [a_tenant(daily=100) for _ in range(12)], list[bytes]()
    places = {cluster.cluster.number_of(slot_of(tenant_key(tenant.id))) for tenant in tenants}
    assert len(places) > 1
    async with connected(cluster.url) as one, connected(cluster.url) as other:
        assert sorted(one.nodes) == sorted(cluster.places)
        limiters = [Limiter(client, UsageLedger(), 2) for client in (one, other)]
        asked = [
            lim.admit(tenant, daily_exempt=False) for lim in limiters for tenant in tenants for _ in range(60)
        ]
        answers = await asyncio.gather(*asked)
        assert Counter((one.admitted, one.mode) for one in answers) == {
            (True, "shared"): 1_200,
            (False, "shared"): 240,
        }
        channel = uuid4().hex
        await one.subscribe(channel, heard.append)
        await eventually(lambda: any(n.ask("PUBSUB", "NUMSUB", channel)[1] for n in cluster.cluster.nodes))
        await other.publish(channel, "by name")
        other.wake(channel)
        await eventually(lambda: heard == [b"by name", b""])
        found = {key async for some in one.scan(f"{tenant_key(tenants[0].id)}:*") for key in some}
        assert found
        assert await other.unlink(found) == len(found)
        await other.each("INFO")


async def test_a_node_that_comes_back_over_tls_is_spoken_to_again(cluster: TlsCluster) -> None:
    """Catalogue 106."""
    node = cluster.cluster.primaries[0]
    async with connected(cluster.url) as redis:
        node.kill()
        await eventually(lambda: not redis.available)
        await eventually(lambda: list(redis.failures) == [cluster.places[0]])
        node.start()
        await eventually(lambda: redis.available)
        assert not redis.failures


async def test_an_authority_that_is_not_the_named_one_stops_the_start(
    cluster: TlsCluster, stranger: Authority
) -> None:
    where = cluster.places[0]
    for parameters in (f"?ssl_ca_certs={stranger.file}", ""):
        redis = Redis(cluster.url_of(cluster.places, parameters), PATIENT)
        with pytest.raises(SettingsError, match=f"certificate of {where} is not .*ssl_ca_certs") as refused:
            await redis.start()
        assert "horse" not in str(refused.value)
        assert not redis.available


async def test_a_name_that_the_certificate_lacks_stops_the_start(authority: Authority) -> None:
    """The node that is named is called as its certificate says; what it tells of the others is not."""
    async with behind_tls(authority, authority.serving("localhost"), "localhost") as cluster:
        redis = Redis(cluster.url, PATIENT)
        with pytest.raises(
            SettingsError, match=r"of 127\.0\.0\.1:\d+ .*not valid for '127.*have to announce"
        ):
            await redis.start()
        # Nothing goes on trying behind the refusal.
        assert not [task for task in asyncio.all_tasks() if "redis" in repr(task.get_coro())]


async def test_of_a_redis_alone_name_and_authority_are_verified_too(
    authority: Authority, stranger: Authority
) -> None:
    async with alone(authority.serving("localhost")) as port:
        async with connected(f"rediss://localhost:{port}?ssl_ca_certs={authority.file}") as redis:
            assert await redis.command("ECHO", "safe") == b"safe"
        for place, trusted in (("127.0.0.1", authority), ("localhost", stranger)):
            with pytest.raises(SettingsError, match=f"certificate of {place}:{port} is not to be trusted"):
                await Redis(f"rediss://{place}:{port}?ssl_ca_certs={trusted.file}", PATIENT).start()
        async with connected(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none") as careless:
            assert careless.available


async def test_a_certificate_that_has_expired_is_an_outage_that_says_so(authority: Authority) -> None:
    """A process that starts then must not stay away where those that run go on: it comes true by itself."""
    over = authority.serving("127.0.0.1", lasting=IS_OVER)
    async with (
        alone(over) as port,
        connected(f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.file}") as redis,
    ):
        assert not redis.available
        assert "expired" in redis.failures[f"127.0.0.1:{port}"]


async def test_a_client_that_has_to_show_a_certificate_shows_its_own(authority: Authority) -> None:
    serving = authority.serving("127.0.0.1")
    serving.load_verify_locations(authority.file)
    serving.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue("mis.internal")
    async with alone(serving) as port:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.file}"
        async with connected(f"{url}&ssl_certfile={own}") as redis:
            assert redis.available
        async with connected(url) as redis:
            assert not redis.available
            assert redis.failures
