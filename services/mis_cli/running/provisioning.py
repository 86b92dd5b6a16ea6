"""Gives `mis run` everything it was not told: embedded servers, directories, generated secrets, a schema."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mis_cli.embedded import (
    DatabaseUrls,
    DirectoryLock,
    EmbeddedPostgres,
    EmbeddedRedis,
    database_urls,
    prepare_database,
)
from mis_cli.embedded.processes import server_identity
from mis_cli.embedded.secrets import generated, master_key
from mis_cli.migrations import ROLES_FILE, upgrade
from mis_cli.settings import LauncherSettings
from mis_http.service.settings import ServiceSettings
from mis_tenancy.settings import SettingsError

_DATABASE_SETTINGS: Final = (
    "database_url",
    "auth_database_url",
    "platform_database_url",
    "migration_database_url",
)

# Browsers resolve every name below `localhost` to this machine, so subdomains work without DNS.
LOCAL_DOMAINS: Final = ("mis.local", "localhost")
# Where the master keys of a data directory are kept, and under which name.
MASTER_KEYS: Final = ("master_keys.json", "keys")


@dataclass(frozen=True, slots=True)
class Databases:
    """The roles' URLs as this process uses them, and as others on this machine can."""

    own: DatabaseUrls
    shown: DatabaseUrls


@dataclass(frozen=True, slots=True)
class Provisions:
    """All that a running suite stands on."""

    services: ServiceSettings
    databases: Databases
    operator_email: str
    operator_password: str


def make_data_directory(directory: Path) -> Path:
    """Return the data directory, made where it is missing; all that is secret in it is private by itself."""
    data = directory.resolve()
    # Under root Postgres runs as another user, who has to walk through to its own part.
    data.mkdir(mode=0o711 if server_identity() else 0o700, parents=True, exist_ok=True)
    return data


def provision(settings: LauncherSettings, base_url: str, stack: ExitStack) -> Provisions:
    """Start what is missing, migrate, and return the services' settings; `stack` stops it all again."""
    data = settings.data_dir.resolve()
    databases = _databases(settings, data, stack)
    redis_url = settings.redis_url
    if redis_url is None:
        redis_url = stack.enter_context(EmbeddedRedis(data / "redis")).url
    upgrade(databases.own.owner)
    operator_password = settings.operator_password
    if operator_password is None:
        operator_password = generated(data / "operator.json", ("password",))["password"]
    services = ServiceSettings.read(
        **_decided(settings, data, base_url),
        **_service_urls(databases.own, redis_url),
        operator_email=settings.operator_email,
        operator_password=operator_password,
    )
    return Provisions(services, databases, settings.operator_email, operator_password)


def standing(data_dir: Path | None, stack: ExitStack) -> dict[str, Any]:
    """Return the settings of a stopped `mis run`, its servers standing until `stack` ends.

    Empty where MIS_MIGRATION_DATABASE_URL names a deployment that stands by itself.
    """
    given: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    settings = LauncherSettings.read(**given)
    if settings.migration_database_url is not None:
        return {}
    data = make_data_directory(settings.data_dir)
    stack.enter_context(DirectoryLock(data))
    databases = _databases(settings, data, stack).own
    redis_url = settings.redis_url or stack.enter_context(EmbeddedRedis(data / "redis")).url
    decided = _decided(settings, data, settings.public_url or "")
    return {
        **decided,
        "database_url": databases.app,
        "migration_database_url": databases.owner,
        "redis_url": redis_url,
    }


def _databases(settings: LauncherSettings, data: Path, stack: ExitStack) -> Databases:
    given = {name: getattr(settings, name) for name in _DATABASE_SETTINGS}
    missing = [f"MIS_{name.upper()}" for name, url in given.items() if url is None]
    if not missing:
        urls = DatabaseUrls(
            owner=given["migration_database_url"],
            app=given["database_url"],
            auth=given["auth_database_url"],
            platform=given["platform_database_url"],
        )
        return Databases(urls, urls)
    if len(missing) < len(given):
        raise SettingsError(
            f"{', '.join(missing)}: not set, while its sisters are. The roles share one database: "
            "set all four URLs, or none to have an embedded Postgres."
        )
    postgres = stack.enter_context(EmbeddedPostgres(data / "postgres"))
    own = prepare_database(postgres.address, ROLES_FILE)
    return Databases(own, database_urls(postgres.address, tcp=True))


def _service_urls(databases: DatabaseUrls, redis_url: str) -> dict[str, str]:
    return {
        "database_url": databases.app,
        "auth_database_url": databases.auth,
        "platform_database_url": databases.platform,
        "redis_url": redis_url,
    }


def _decided(settings: LauncherSettings, data: Path, base_url: str) -> dict[str, Any]:
    spool = settings.spool_dir or data / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    storage_url = settings.storage_url
    if storage_url is None:
        storage = data / "storage"
        storage.mkdir(mode=0o700, exist_ok=True)
        storage_url = storage.as_uri()
    master_keys = settings.master_keys
    if master_keys is None:
        file, name = MASTER_KEYS
        master_keys = generated(data / file, (name,), master_key)[name]
    return {
        "storage_url": storage_url,
        "spool_dir": spool,
        "mail_dir": settings.mail_dir or data / "mail",
        "public_url": settings.public_url or base_url,
        "base_domains": settings.base_domains or LOCAL_DOMAINS,
        "master_keys": master_keys,
    }
