"""A Redis Cluster of a test's own: primaries, replicas where wanted, whose nodes a test may kill and move.

It is made by the cluster's own commands, as there is no redis-cli in the wheel.
"""

import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import redis

from tests.mis_tenancy.redis_fixtures import RedisServer

SLOTS: Final = 16_384
PASSWORD: Final = "c0rrect,horse@battery"
_PATIENCE_SECONDS: Final = 60.0


class Node(RedisServer):
    """A node, known by what it calls itself; its bus has the port 10,000 above its own."""

    def __init__(self, timeout_ms: int, *options: str) -> None:
        super().__init__(
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout_ms)),
            *("--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"),
            *("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"),
            *options,
        )
        self.port = port_below_its_bus()

    @property
    def meeting_port(self) -> int:
        """The port that other nodes know this one by."""
        return self.port

    def client(self, **options: Any) -> "redis.Redis":
        return super().client(password=PASSWORD, **options)

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID").decode())

    def told(self, name: str) -> str:
        """Return what CLUSTER INFO says of a name."""
        lines: list[str] = self.ask("CLUSTER", "INFO").decode().splitlines()
        return next(value for key, _, value in (line.partition(":") for line in lines) if key == name)

    def owner_of(self, slot: int) -> int:
        """Return the port of the node that answers for a slot, as this one sees it."""
        for first, last, owner, *_ in self.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return int(owner[1])
        return 0


class RedisCluster:
    """Primaries that share the slots evenly, in order; `replicas` of each where its death is outlived."""

    def __init__(
        self,
        primaries: int = 3,
        replicas: int = 0,
        timeout_ms: int = 2_000,
        make: Callable[[int], Node] = Node,
    ) -> None:
        self.primaries = [make(timeout_ms) for _ in range(primaries)]
        self.replicas = [[make(timeout_ms) for _ in range(replicas)] for _ in range(primaries)]

    @property
    def nodes(self) -> list[Node]:
        return [*self.primaries, *(replica for some in self.replicas for replica in some)]

    @property
    def url(self) -> str:
        """The URL by which services find the cluster, through two of its nodes."""
        return self.url_of(self.primaries[:2])

    def url_of(self, nodes: Sequence[Node]) -> str:
        user = f"default:{PASSWORD.replace('@', '%40').replace(',', '%2C')}"
        return f"redis+cluster://{user}@{','.join(f'127.0.0.1:{node.port}' for node in nodes)}"

    def start(self) -> "RedisCluster":
        for node in self.nodes:
            node.start()
        # The last slots go to the last node, whatever the division leaves.
        bounds = [SLOTS * number // len(self.primaries) for number in range(len(self.primaries) + 1)]
        for number, node in enumerate(self.primaries):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", self.primaries[0].meeting_port)
        until(lambda: all(self._knows_all(node) for node in self.nodes))
        for primary, replicas in zip(self.primaries, self.replicas, strict=True):
            for replica in replicas:
                replica.ask("CLUSTER", "REPLICATE", primary.id)
        until(self.is_whole)
        replicas = [replica for some in self.replicas for replica in some]
        until(lambda: all(one.ask("INFO", "replication")["master_link_status"] == "up" for one in replicas))
        return self

    def stop(self) -> None:
        for node in self.nodes:
            node.close()

    def is_whole(self) -> bool:
        """Return whether every node takes the cluster for a sound one."""
        return all(node.told("cluster_state") == "ok" for node in self.nodes)

    def number_of(self, slot: int) -> int:
        """Return which of the primaries a slot was given to at the start."""
        return next(
            number
            for number in range(len(self.primaries))
            if slot < SLOTS * (number + 1) // len(self.primaries)
        )

    def until_taken_over(self, number: int) -> Node:
        """Wait until the replica of a primary that is away is one itself, in everybody's eyes; return it."""
        slot, heir = SLOTS * number // len(self.primaries), self.replicas[number][0]
        others = [node for node in self.primaries if node is not self.primaries[number]]
        until(lambda: all(node.owner_of(slot) == heir.port for node in (*others, heir)))
        return heir

    def begin_to_move(self, slot: int, source: Node, target: Node) -> None:
        """Leave a slot in between: what is there stays at `source`, what comes anew goes to `target`."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: Node, target: Node) -> None:
        """Carry a slot's keys over."""
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask(*("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "AUTH", PASSWORD, "KEYS", *keys))

    def end_move(self, slot: int, target: Node) -> None:
        for node in self.primaries:
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def _knows_all(self, node: Node) -> bool:
        is_introduced = b"handshake" not in node.ask("CLUSTER", "NODES")
        return is_introduced and node.told("cluster_known_nodes") == str(len(self.nodes))


@contextmanager
def redis_cluster(
    replicas: int = 0, timeout_ms: int = 2_000, make: Callable[[int], Node] = Node
) -> Iterator[RedisCluster]:
    cluster = RedisCluster(replicas=replicas, timeout_ms=timeout_ms, make=make)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@contextmanager
def empty_node() -> Iterator[Node]:
    """Yield a node that is in no cluster with any other."""
    node = Node(2_000)
    try:
        node.start()
        yield node
    finally:
        node.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; a minute without it is a failure."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(redis.RedisError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError("The Redis Cluster did not get there within a minute.")


def port_below_its_bus() -> int:
    """Return a port that is free, with the one 10,000 above it; outside the range that systems hand out."""
    while True:
        port = random.randrange(12_000, 22_000)  # spreads tests, hides nothing
        with socket.socket() as own, socket.socket() as bus, suppress(OSError):
            own.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port
