"""Which deployment a command acts on: that of the environment, or the one that `mis run` has running here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mis_cli.embedded.secrets import generated
from mis_cli.running.provisioning import LOCAL_DOMAINS, MASTER_KEYS
from mis_cli.running.run_record import read_record
from mis_cli.settings import OperatingSettings, RecordedSettings
from mis_tenancy.settings import MasterKeys, SettingsError

_NEEDED: Final = (
    "database_url",
    "auth_database_url",
    "platform_database_url",
    "public_url",
    "master_keys",
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a command needs to act as the services do."""

    database_url: str
    auth_database_url: str
    platform_database_url: str
    redis_url: str | None
    public_url: str
    base_domains: tuple[str, ...]
    master_keys: MasterKeys

    @property
    def platform_hosts(self) -> tuple[str, ...]:
        """The hosts that are no tenant's, nor are those below them, as the services know them."""
        return (*self.base_domains, urlsplit(self.public_url).hostname or "")


def find_deployment(data_dir: Path | None = None) -> Deployment:
    """Return the deployment to act on; raise SettingsError naming what is missing.

    The environment wins over a suite that runs in `data_dir` (MIS_DATA_DIR, `.mis`).
    """
    given: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    settings = OperatingSettings.read(**given)
    if settings.platform_database_url is None:
        return _running(settings)
    missing = [f"MIS_{name.upper()}" for name in _NEEDED if getattr(settings, name) is None]
    if missing:
        raise SettingsError(
            f"{', '.join(missing)}: not set, while MIS_PLATFORM_DATABASE_URL is. Set them as for services."
        )
    return Deployment(
        **{name: getattr(settings, name) for name in _NEEDED[:-1]},
        redis_url=settings.redis_url,
        base_domains=settings.base_domains or ("mis.local",),
        master_keys=MasterKeys.parse(settings.master_keys or ""),
    )


def recorded_settings(data_dir: Path | None = None) -> dict[str, Any]:
    """Return the services' settings of the suite that runs in `data_dir`, and its owner's URL.

    Empty where the environment names a database of the services, or where no suite runs.
    """
    given: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    settings = RecordedSettings.read(**given)
    if settings.database_url is not None or (record := read_record(settings.data_dir)) is None:
        return {}
    data = settings.data_dir.resolve()
    return {
        "database_url": record["databaseUrl"],
        "auth_database_url": record["authDatabaseUrl"],
        "platform_database_url": record["platformDatabaseUrl"],
        "migration_database_url": record["migrationDatabaseUrl"],
        "redis_url": record["redisUrl"],
        "storage_url": record["storageUrl"],
        "public_url": settings.public_url or record["baseUrl"],
        "base_domains": settings.base_domains or LOCAL_DOMAINS,
        "master_keys": settings.master_keys or _generated_keys(data),
        "spool_dir": data / "spool",
        "mail_dir": data / "mail",
    }


def _generated_keys(data: Path) -> str:
    file, name = MASTER_KEYS
    return generated(data / file, (name,))[name]


def _running(settings: OperatingSettings) -> Deployment:
    record = read_record(settings.data_dir)
    if record is None:
        raise SettingsError(
            f"MIS_PLATFORM_DATABASE_URL is not set, and no suite runs in {settings.data_dir}. Set it and its "
            "sisters as for the services, or name the data directory of a running `mis run` by --data-dir."
        )
    master_keys = settings.master_keys or _generated_keys(settings.data_dir)
    return Deployment(
        database_url=record["databaseUrl"],
        auth_database_url=record["authDatabaseUrl"],
        platform_database_url=record["platformDatabaseUrl"],
        redis_url=record["redisUrl"],
        public_url=settings.public_url or record["baseUrl"],
        base_domains=settings.base_domains or LOCAL_DOMAINS,
        master_keys=MasterKeys.parse(master_keys),
    )
