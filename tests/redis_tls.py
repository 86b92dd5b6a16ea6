"""A Redis Cluster that speaks TLS: the embedded one behind a way in that does, or a newer one by itself."""

import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Final

import pytest

from tests.certificates import Authority
from tests.mis_tenancy.redis_fixtures import proxy_to
from tests.redis_cluster import PASSWORD, Node, RedisCluster, port_below_its_bus, redis_cluster

# Word by word what docs/poolers-and-clusters.md gives a user of the suite's own.
RIGHTS: Final = (
    "~{* &* -@all +get +set +del +getdel +unlink +scan +eval +evalsha +time "
    "+ping +publish +subscribe +info +cluster|slots +cluster|info +asking"
)
_USER: Final = "mis"
_ENTERED_BY: Final = ("--user", _USER, "on", f">{PASSWORD}", *RIGHTS.split())
_MISSING: Final = "There is no Redis 7 on this machine; `apt-get install redis-server` brings one."


@cache
def tls_server() -> Path | None:
    """Return a server that speaks TLS and announces names, which is 7 or newer; None where there is none."""
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) is not None:
            said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603  # only asks
            version = re.search(r"v=(\d+)", said)
            if version is not None and int(version[1]) >= 7:
                return Path(found)
    return None


class TlsNode(Node):
    """A node that all call localhost and speak TLS with, but for a test's hands, which use its plain port."""

    def __init__(self, authority: Authority, program: Path, timeout_ms: int) -> None:
        self.tls_port = port_below_its_bus()
        certificate = str(authority.issue("localhost"))
        super().__init__(
            timeout_ms,
            *("--tls-port", str(self.tls_port), "--tls-cluster", "yes", "--tls-replication", "yes"),
            *("--tls-cert-file", certificate, "--tls-key-file", certificate),
            *("--tls-ca-cert-file", str(authority.file), "--tls-auth-clients", "no"),
            *("--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"),
            *_ENTERED_BY,
        )
        self.program = program

    @property
    def meeting_port(self) -> int:
        return self.tls_port


class TlsCluster:
    """A cluster with a user of the suite's own, and where it is found over TLS."""

    def __init__(self, cluster: RedisCluster, authority: Authority, places: list[str]) -> None:
        self.cluster, self.authority, self.places = cluster, authority, places

    @property
    def url(self) -> str:
        return self.url_trusting(self.authority)

    def url_trusting(self, authority: Authority) -> str:
        return self.url_of(self.places[:2], f"?ssl_ca_certs={authority.file}")

    def url_of(self, places: list[str], parameters: str) -> str:
        password = PASSWORD.replace("@", "%40").replace(",", "%2C")
        return f"rediss+cluster://{_USER}:{password}@{','.join(places)}{parameters}"


@contextmanager
def by_itself(authority: Authority, replicas: int = 0) -> Iterator[TlsCluster]:
    """Yield a cluster whose nodes speak TLS; skip the test where no server here can."""
    if (program := tls_server()) is None:
        pytest.skip(_MISSING)
    make = partial(TlsNode, authority, program)
    with redis_cluster(replicas, 1_000, make) as cluster:
        ports = [node.meeting_port for node in cluster.nodes]
        yield TlsCluster(cluster, authority, [f"localhost:{port}" for port in ports])


@asynccontextmanager
async def behind_tls(authority: Authority, serving: ssl.SSLContext, host: str) -> AsyncIterator[TlsCluster]:
    """Yield a cluster of the embedded server, which tells clients to come to 127.0.0.1 by TLS."""
    cluster = RedisCluster()
    async with AsyncExitStack() as stack:
        stack.callback(cluster.stop)
        ports = []
        for node in cluster.nodes:
            port = await stack.enter_async_context(proxy_to(node.port, lambda: 0, serving))
            announced = ("--cluster-announce-port", str(port))
            node.options += (*_ENTERED_BY, *announced, "--cluster-announce-bus-port", str(node.port + 10_000))
            ports.append(port)
        cluster.start()
        yield TlsCluster(cluster, authority, [f"{host}:{port}" for port in ports])
