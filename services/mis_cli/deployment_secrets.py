"""The secrets of a deployment by compose: made once, and handed to each container as files of its own.

A container sees only its own directory, so that a service that is taken over knows no other role's password.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mis_cli.embedded.secrets import generated, master_key, password, write_private

_ROLES: Final = ("mis_owner", "mis_app", "mis_auth", "mis_platform")
_PASSWORDS: Final = (*_ROLES, "postgres", "redis", "store", "operator", "grafana")
_STORE_USER: Final = "mis"
_DATABASE: Final = "postgresql://{role}:{password}@postgres:5432/mis_db"


def write_secrets(directory: Path) -> None:
    """Write every container's files below `directory`; calling again keeps what was made before."""
    kept = directory / "kept"
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = generated(kept / "passwords.json", _PASSWORDS, password)
    keys = generated(kept / "master_keys.json", ("keys",), master_key)["keys"]
    for container, files in _files(passwords, keys).items():
        place = directory / container
        place.mkdir(exist_ok=True)
        for name, text in files.items():
            write_private(place / name, text)
            # Its directory is mounted into one container only, whose user is not ours.
            (place / name).chmod(0o444)


def _files(passwords: Mapping[str, str], keys: str) -> dict[str, dict[str, str]]:
    urls = {role: _DATABASE.format(role=role, password=passwords[role]) for role in _ROLES}
    every = {
        "database_url": urls["mis_app"],
        "redis_url": f"redis://:{passwords['redis']}@redis:6379/0",
        "master_keys": keys,
        "storage_access_key": _STORE_USER,
        "storage_secret_key": passwords["store"],
    }
    platform = {"platform_database_url": urls["mis_platform"]}
    return {
        "postgres": {role: passwords[role] for role in _ROLES} | {"password": passwords["postgres"]},
        "redis": {"redis.conf": _redis_conf(passwords["redis"])},
        "store": {"s3.json": _store_users(passwords["store"])},
        "migrations": {"migration_database_url": urls["mis_owner"]},
        "tenant": every | platform,
        "auth": every | {"auth_database_url": urls["mis_auth"], "operator_password": passwords["operator"]},
        "user": every,
        "worker": every | platform,
        "grafana": {"password": passwords["grafana"]},
    }


def _redis_conf(password: str) -> str:
    # Counters must outlive a restart, and must never be evicted to make room.
    return "\n".join(
        (
            f"requirepass {password}",
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            "dir /data",
            "",
        )
    )


def _store_users(password: str) -> str:
    user = {
        "name": _STORE_USER,
        "credentials": [{"accessKey": _STORE_USER, "secretKey": password}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    return json.dumps({"identities": [user]})
