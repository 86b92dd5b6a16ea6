"""The embedded Redis: append-only, behind its password, up again after anything."""

import os
from pathlib import Path

import psutil
import pytest
import redis
from redis.exceptions import AuthenticationError

from mis_cli.embedded import EmbeddedRedis, EmbeddedServerError


def test_data_outlives_a_restart(place: Path) -> None:
    server = EmbeddedRedis(place / "redis")
    with server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    with server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"1"


def test_it_comes_back_after_a_crash_and_refuses_a_second_launcher(place: Path) -> None:
    server = EmbeddedRedis(place / "redis", durable=False)
    server.start()
    server.kill()
    assert server.pid is None
    with server:
        with pytest.raises(EmbeddedServerError, match=f"in use by process {os.getpid()}"):
            EmbeddedRedis(place / "redis").start()
        with redis.Redis.from_url(server.database_url(63)) as client:
            assert client.ping()


def test_a_server_without_launcher_is_ended_by_the_next_start(place: Path) -> None:
    orphan = EmbeddedRedis(place / "redis", durable=False)
    orphan.start()
    # What a dead launcher leaves where the kernel does not tell its children: a free lock, a running server.
    orphan._lock.release()
    with EmbeddedRedis(place / "redis", durable=False) as server:
        assert orphan.pid is None
        assert server.pid is not None


def test_the_password_is_needed_and_shows_in_no_command_line(place: Path) -> None:
    with EmbeddedRedis(place / "redis", durable=False) as server:
        assert server.pid is not None
        password = server.url.split(":")[2].split("@")[0]
        assert password not in " ".join(psutil.Process(server.pid).cmdline())
        stranger = redis.Redis.from_url(server.url.replace(password, "wrong"))
        with stranger, pytest.raises(AuthenticationError):
            stranger.ping()
