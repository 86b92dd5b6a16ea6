"""What `mis` reads from the environment; for `run` whatever is left out is embedded or generated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from mis_http.service.setting_types import (
    CommaList,
    DatabaseUrl,
    MasterKeysText,
    OwnersDatabaseUrl,
    PublicUrl,
    RedisUrl,
    StorageUrl,
)
from mis_http.service.settings import EnvironmentSettings
from mis_tenancy.objects.opening import StoreAccess
from mis_tenancy.settings import SettingsError
from mis_tenancy.storage import Storage


class LauncherSettings(EnvironmentSettings):
    """The settings of `mis run`."""

    host: str = Field("127.0.0.1", description="Set it to the address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Set it to the port to listen on, 0 for any.")
    data_dir: Path = Field(Path(".mis"), description="Set it to the directory that keeps all data.")
    database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_app."
    )
    auth_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_auth."
    )
    platform_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_platform."
    )
    migration_database_url: OwnersDatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_owner."
    )
    redis_url: RedisUrl | None = Field(
        None,
        repr=False,
        description="Set it to redis://host:port/0, or a cluster's redis+cluster://host:port,host:port.",
    )
    storage_url: StorageUrl | None = Field(
        None, description="Set it to file:///a/directory or s3://bucket/prefix."
    )
    spool_dir: Path | None = Field(
        None, description="Set it to a directory on a disk that outlives the process."
    )
    mail_dir: Path | None = Field(
        None, description="Set it to a directory that keeps mails as files, where MIS_SMTP_URL is not set."
    )
    public_url: PublicUrl | None = Field(
        None, description="Set it to the URL under which clients reach the suite."
    )
    base_domains: CommaList | None = Field(
        None, description="Set it to the domains, separated by commas, whose subdomains name tenants."
    )
    master_keys: MasterKeysText | None = Field(
        None, repr=False, description="Set it to id:base64 of 32 random bytes."
    )
    operator_email: str = Field(
        "operator@mis.local", description="Set it to the first operator's e-mail address."
    )
    operator_password: str | None = Field(
        None, repr=False, description="Set it to the first operator's password."
    )


class ServingSettings(EnvironmentSettings):
    """The settings of `mis serve` beside those of the service."""

    host: str = Field("127.0.0.1", description="Set it to the address to listen on.")
    port: int | None = Field(None, ge=0, le=65535, description="Set it to the port to listen on, 0 for any.")
    drain_seconds: float = Field(
        0.0, ge=0, le=600, description="Set it to the seconds to serve on, unready, after SIGTERM."
    )


class MasterKeySettings(EnvironmentSettings):
    """The settings of `mis keys rotate-master`."""

    migration_database_url: OwnersDatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_owner."
    )
    master_keys: MasterKeysText = Field(
        repr=False, description="Set it to the new key, then the old ones: new:base64,old:base64."
    )


class MigrationSettings(EnvironmentSettings):
    """The settings of `mis migrate`."""

    migration_database_url: OwnersDatabaseUrl = Field(
        repr=False,
        description="Set it to the postgresql:// URL of the role mis_owner. "
        "(`mis run` migrates its embedded database by itself.)",
    )


class DistributionSettings(EnvironmentSettings):
    """The settings of `mis distribute`, which changes as the owner and looks as the application does."""

    migration_database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_owner on the coordinator."
    )
    database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_app on the coordinator."
    )


class PlacementSettings(EnvironmentSettings):
    """The settings of `mis tenants isolate` and `move`, which let Citus copy past row-level security."""

    superuser_database_url: DatabaseUrl = Field(
        repr=False, description="Set it to a superuser's postgresql:// URL on the coordinator."
    )
    database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_app on the coordinator."
    )


class OperatingSettings(EnvironmentSettings):
    """The settings of commands that act on a deployment: all of these, or none beside a running `mis run`."""

    data_dir: Path = Field(Path(".mis"), description="Set it to the data directory of a running `mis run`.")
    database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_app."
    )
    auth_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_auth."
    )
    platform_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_platform."
    )
    redis_url: RedisUrl | None = Field(None, repr=False, description="Set it to the services' MIS_REDIS_URL.")
    public_url: PublicUrl | None = Field(
        None, description="Set it to the URL under which clients reach the suite."
    )
    base_domains: CommaList | None = Field(None, description="Set it to the services' base domains.")
    master_keys: MasterKeysText | None = Field(
        None, repr=False, description="Set it to the services' master keys."
    )


class RecordedSettings(EnvironmentSettings):
    """What decides whether a command looks at a running `mis run`; whether it is well-formed, others say."""

    data_dir: Path = Field(Path(".mis"), description="Set it to the data directory of a running `mis run`.")
    database_url: str | None = Field(None, repr=False)
    public_url: str | None = None
    base_domains: str | None = None
    master_keys: str | None = Field(None, repr=False)


class OwnerSettings(EnvironmentSettings):
    """The settings of commands that act as the tables' owner."""

    migration_database_url: OwnersDatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_owner, which sees every row."
    )

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Self:
        """Read the settings, those of a running suite first."""
        return cls.read(**{name: value for name, value in recorded.items() if name in cls.model_fields})


class BackupSettings(OwnerSettings):
    """The settings of `mis backup`."""

    storage_url: StorageUrl = Field(description="Set it to the services' file:///… or s3://bucket/prefix.")
    storage_endpoint: PublicUrl | None = Field(None, description="Set it as for the services.")
    storage_access_key: str | None = Field(None, description="Set it as for the services.")
    storage_secret_key: str | None = Field(None, repr=False, description="Set it as for the services.")

    def storage(self) -> Storage:
        """Open the object store; raise SettingsError where there can be none."""
        access = StoreAccess(self.storage_endpoint, self.storage_access_key, self.storage_secret_key)
        return Storage(self.storage_url, access)


class RestorationSettings(BackupSettings):
    """The settings of `mis restore`."""

    database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_app, to verify isolation as."
    )
    superuser_database_url: OwnersDatabaseUrl | None = Field(
        None,
        repr=False,
        description="Set it to a superuser's URL of the server, to have roles and database made.",
    )
    auth_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the URL of mis_auth, to have a role that is missing made."
    )
    platform_database_url: DatabaseUrl | None = Field(
        None,
        repr=False,
        description="Set it to the URL of mis_platform, to have a role that is missing made.",
    )
    redis_url: RedisUrl | None = Field(None, repr=False, description="Set it to the services' MIS_REDIS_URL.")
    master_keys: MasterKeysText = Field(
        repr=False, description="Set it to the master keys that were kept apart from the backup."
    )


class SeedSettings(EnvironmentSettings):
    """The settings of commands that sign in as an operator: `mis seed` and `mis load`."""

    data_dir: Path = Field(Path(".mis"), description="Set it to the data directory of a running `mis run`.")
    operator_email: str | None = Field(None, description="Set it to an operator's e-mail address.")
    operator_password: str | None = Field(None, repr=False, description="Set it to that operator's password.")

    def operator(self) -> tuple[str, str]:
        """Return the operator's address and password; raise SettingsError where one is missing."""
        if self.operator_email is None or self.operator_password is None:
            raise SettingsError(
                "MIS_OPERATOR_EMAIL, MIS_OPERATOR_PASSWORD: set them to sign in at --base-url."
            )
        return self.operator_email, self.operator_password
