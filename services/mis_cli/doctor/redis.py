"""Looks at Redis: one server, or every node of a cluster that keys are on."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mis_cli.doctor.findings import Finding, fail, fine, warn
from mis_tenancy.redis import Redis, RedisReplyError
from mis_tenancy.redis.address import addresses_of

_OLDEST: Final = (6, 2)
_PATIENCE: Final = 5.0

_TLS_ADVICE: Final = "Where it speaks TLS the URL begins with rediss, and only there."

Told = Mapping[str, Mapping[str, str]]


async def redis(url: str) -> Sequence[Finding]:
    """Say whether each server answers, is new enough and keeps what it is given."""
    client = Redis(url, _PATIENCE)
    try:
        await client.start()
        if away := _away(client):
            return away
        # What a managed Redis forbids by CONFIG it still tells by INFO.
        told = {name: _lines(answer) for name, answer in (await client.each("INFO")).items()}
        found = [_version(told), *_keeping(told)]
        return [*found, *await _cluster(client)] if addresses_of(url)[0].is_of_cluster else found
    finally:
        await client.stop()


def _away(client: Redis) -> list[Finding]:
    """Return what is said of servers that are away, each with its reason."""
    away = [name for name, answers in client.nodes.items() if not answers]
    if not (away or client.failures):
        return []
    reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(client.failures.items()))
    told = f"{', '.join(away)} of {len(client.nodes)} does not answer" if away else "no node answers"
    advice = "Bring it back, or let a replica take over; until then its tenants are limited per process."
    return [fail("redis", f"{told} ({reasons})" if reasons else told, f"{advice} {_TLS_ADVICE}")]


def _lines(info: bytes) -> Mapping[str, str]:
    return dict(line.partition(":")[::2] for line in info.decode().splitlines())


def _version(told: Told) -> Finding:
    versions = sorted({info.get("redis_version", "0.0") for info in told.values()}, key=_parts)
    if _parts(versions[0]) < _OLDEST:
        return fail("redis", f"is {versions[0]}", "Move to Redis 6.2 or newer, or to Valkey.")
    nodes = f" at {len(told)} nodes" if len(told) > 1 else ""
    return fine("redis", f"{', '.join(versions)} answers{nodes}")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _keeping(told: Told) -> list[Finding]:
    found = []
    policies = {info.get("maxmemory_policy", "?"): name for name, info in told.items()}
    policies.pop("noeviction", None)
    if policies:
        where = ", ".join(f"{policy} at {name}" for policy, name in policies.items())
        advice = "Set maxmemory-policy noeviction: an evicted counter gives a tenant its day's requests anew."
        found.append(fail("redis eviction", f"the policy is {where}", advice))
    if without := [name for name, info in told.items() if info.get("aof_enabled") != "1"]:
        advice = "Set appendonly yes (appendfsync everysec); without it counters come from the usage ledger."
        detail = f"no append-only file is kept at {', '.join(without)}"
        found.append(warn("redis persistence", detail, advice))
    return found


async def _cluster(client: Redis) -> list[Finding]:
    found = []
    slots: Sequence[Any] = await client.command("CLUSTER", "SLOTS")
    if missing := 16_384 - sum(last - first + 1 for first, last, *_ in slots):
        advice = (
            "Give each to a node (CLUSTER ADDSLOTS): tenants whose keys are there are limited per process."
        )
        found.append(fail("redis slots", f"{missing} of 16384 are nobody's", advice))
    if alone := {_name(owner) for _, _, owner, *replicas in slots if not replicas}:
        advice = "Add one (CLUSTER REPLICATE): without, its tenants are limited per process while it is away."
        found.append(warn("redis replicas", f"there is none of {', '.join(sorted(alone))}", advice))
    if strict := await _stop_with_any(client):
        advice = "Set cluster-require-full-coverage no, or tenants of every node feel one node's death."
        detail = f"{', '.join(strict)} stops when any slot's node is away"
        found.append(warn("redis coverage", detail, advice))
    return found


async def _stop_with_any(client: Redis) -> list[str]:
    try:
        told = await client.each("CONFIG", "GET", "cluster-require-full-coverage")
    except RedisReplyError:
        # A managed one that forbids this.
        return []
    return [name for name, answer in told.items() if answer[1:] == [b"yes"]]


def _name(node: Sequence[Any]) -> str:
    return f"{(node[0] or b'?').decode()}:{node[1]}"
