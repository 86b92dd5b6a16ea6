"""Reads `MIS_…` settings from the environment or from files, once for all services.

Every setting may come as `MIS_X` or as `MIS_X_FILE`, the path of a file with the value, which is how Docker
and Kubernetes hand over secrets. Whatever is missing or wrong is reported in one error, with the fix, and
without the value: a wrong password must not end up in a log.
"""

import os
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mis_http.service.setting_types import (
    CommaList,
    DatabaseUrl,
    MailAddress,
    MasterKeysText,
    PublicUrl,
    RedisUrl,
    SmtpUrl,
    StorageUrl,
)
from mis_tenancy.objects.opening import StoreAccess
from mis_tenancy.settings import MasterKeys, SettingsError, TenancySettings, parse_networks
from mis_tenancy.storage import Storage

PREFIX: Final = "MIS_"


class FileSource(PydanticBaseSettingsSource):
    """Reads the file that `MIS_X_FILE` names as the value of `MIS_X`; setting both is a mistake."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the file's content without its line end, or None where no file is named."""
        variable = PREFIX + field_name.upper()
        path = os.environ.get(f"{variable}_FILE")
        if not path:
            return None, field_name, False
        if variable in os.environ:
            raise SettingsError(f"{variable} and {variable}_FILE are both set. Keep one of them.")
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{variable}_FILE: {path} cannot be read as text ({error}). Correct its path or permissions."
            ) from error

    def __call__(self) -> dict[str, Any]:
        """Return the values of all settings whose files are named."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


class EnvironmentSettings(BaseSettings):
    """A frozen set of `MIS_…` settings; each field's description is the fix that an error shows."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let arguments win over variables, and variables stand beside files."""
        return init_settings, env_settings, FileSource(settings_cls)

    @classmethod
    def read(cls, **given: Any) -> Self:
        """Return the settings, `given` first; raise SettingsError naming each that is missing or wrong."""
        try:
            return cls(**given)
        except ValidationError as error:
            problems = [
                cls._problem(str(part["loc"][0]), part["type"], part["msg"]) for part in error.errors()
            ]
            raise SettingsError("\n".join(problems)) from None

    @classmethod
    def _problem(cls, name: str, kind: str, message: str) -> str:
        reason = "is not set" if kind == "missing" else message.removeprefix("Value error, ")
        return f"{PREFIX}{name.upper()}: {reason}. {cls.model_fields[name].description or ''}".rstrip()


class ServiceSettings(EnvironmentSettings):
    """What a service needs to know; one that needs an optional URL declares it anew, as required."""

    database_url: DatabaseUrl = Field(
        repr=False,
        description="Set it to the postgresql:// URL of the role mis_app, never of a stronger one.",
    )
    auth_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_auth."
    )
    platform_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to the postgresql:// URL of the role mis_platform."
    )
    replica_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="Set it to a read replica's URL of the role mis_app, or leave it out."
    )
    redis_url: RedisUrl | None = Field(
        None,
        repr=False,
        description="Set it to redis://host:port/0, or a cluster's redis+cluster://host:port,host:port.",
    )
    storage_url: StorageUrl = Field(description="Set it to file:///a/directory or s3://bucket/prefix.")
    storage_endpoint: PublicUrl | None = Field(
        None, description="Set it to the URL of a store that speaks S3, or leave it out for the cloud's own."
    )
    storage_access_key: str | None = Field(
        None, description="Set it to the store's access key, or leave it out where the machine's role counts."
    )
    storage_secret_key: str | None = Field(
        None, repr=False, description="Set it to the secret of the store's access key."
    )
    public_url: PublicUrl = Field(
        description="Set it to the URL under which clients reach the suite, such as https://api.example.com."
    )
    base_domains: CommaList = Field(
        ("mis.local",),
        description="Set it to the domains, separated by commas, whose subdomains name tenants.",
    )
    master_keys: MasterKeysText = Field(
        repr=False,
        description="Set it to id:base64 of 32 random bytes, such as k1:$(openssl rand -base64 32).",
    )
    trusted_proxies: CommaList = Field((), description="Set it to the proxies' addresses or CIDR networks.")
    dns_servers: CommaList = Field(
        (),
        description="Set it to the addresses of the resolvers that domains are verified through, such as "
        "192.0.2.53 or [2001:db8::53]:53, or leave it out for the system's.",
    )
    smtp_url: SmtpUrl | None = Field(
        None, repr=False, description="Set it to smtp://user:password@host:port."
    )
    mail_dir: Path | None = Field(
        None, description="Set it to a directory that keeps mails as files, where MIS_SMTP_URL is not set."
    )
    mail_from: MailAddress | None = Field(
        None, description="Set it to the address that mails come from, no-reply@ the first base domain."
    )
    spool_dir: Path = Field(description="Set it to a directory on a disk that outlives the process.")
    expected_processes: int = Field(
        1, ge=1, description="Set it to the number of processes that serve together."
    )
    metrics_tenants: int = Field(
        50,
        ge=0,
        le=10_000,
        description="Set it to the number of tenants that metrics tell apart, such as 50.",
    )
    upload_memory: int = Field(
        512,
        ge=64,
        description="Set it to the MiB that the large uploads of one process may take, at least 64.",
    )
    traces_url: PublicUrl | None = Field(
        None, description="Set it to an OTLP receiver's URL such as http://collector:4318, or leave it out."
    )
    webhook_allow_private: bool = Field(
        False, description="Set it to false, or to true where webhooks may reach private addresses."
    )
    sso_allow_private: bool = Field(
        False, description="Set it to false, or to true where tenants' identity providers may be private."
    )
    operator_email: str | None = Field(None, description="Set it to the first operator's e-mail address.")
    operator_password: str | None = Field(
        None, repr=False, description="Set it to the first operator's password."
    )

    @property
    def mail_sender(self) -> str:
        """The address that mails come from."""
        return self.mail_from or f"no-reply@{self.base_domains[0]}"

    def storage(self) -> Storage:
        """Open the object store; raise SettingsError where there can be none."""
        access = StoreAccess(self.storage_endpoint, self.storage_access_key, self.storage_secret_key)
        return Storage(self.storage_url, access)

    def tenancy(self, service: str) -> TenancySettings:
        """Return the middleware's settings for the named service."""
        return TenancySettings(
            database_url=self.database_url,
            issuer=self.public_url,
            spool_directory=self.spool_dir,
            master_keys=MasterKeys.parse(self.master_keys),
            redis_url=self.redis_url,
            replica_database_url=self.replica_database_url,
            base_domains=self.base_domains,
            trusted_proxies=parse_networks(list(self.trusted_proxies)),
            expected_processes=self.expected_processes,
            service=service,
            metrics_tenants=self.metrics_tenants,
        )
