"""Settings: from variables or files, and one clear error for all that is wrong."""

import base64
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from mis_cli.running.provisioning import provision
from mis_cli.settings import LauncherSettings, MigrationSettings
from mis_http.service.settings import ServiceSettings
from mis_tenancy.settings import SettingsError

KEYS = f"k1:{base64.b64encode(bytes(32)).decode()}"
REQUIRED = {
    "MIS_DATABASE_URL": "postgresql://mis_app:secret-word@db/mis_db",
    "MIS_STORAGE_URL": "s3://bucket/prefix",
    "MIS_PUBLIC_URL": "https://api.example.com/",
    "MIS_MASTER_KEYS": KEYS,
    "MIS_SPOOL_DIR": "/var/spool/mis",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_come_from_variables(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MIS_BASE_DOMAINS", "example.com, example.org")
    environment.setenv("MIS_TRUSTED_PROXIES", "10.0.0.0/8")
    environment.setenv("MIS_REDIS_URL", "")
    settings = ServiceSettings.read()
    assert settings.public_url == "https://api.example.com"
    assert settings.base_domains == ("example.com", "example.org")
    assert settings.redis_url is None
    assert settings.tenancy("user-service").trusted_proxies[0].prefixlen == 8


def test_settings_come_from_files_without_their_line_end(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "keys"
    secret.write_text(f"{KEYS}\n")
    environment.delenv("MIS_MASTER_KEYS")
    environment.setenv("MIS_MASTER_KEYS_FILE", str(secret))
    assert ServiceSettings.read().master_keys == KEYS


def test_a_setting_given_twice_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MIS_MASTER_KEYS_FILE", "/run/secrets/keys")
    with pytest.raises(SettingsError, match="MIS_MASTER_KEYS and MIS_MASTER_KEYS_FILE are both set"):
        ServiceSettings.read()


def test_a_url_may_name_a_pooler_that_is_known(environment: pytest.MonkeyPatch) -> None:
    url = f"{REQUIRED['MIS_DATABASE_URL']}?pooler=transaction"
    environment.setenv("MIS_DATABASE_URL", url)
    assert ServiceSettings.read().database_url == url
    environment.setenv("MIS_DATABASE_URL", f"{url}s")
    with pytest.raises(
        SettingsError, match=r"MIS_DATABASE_URL: names a pooler that is none \(transaction and"
    ):
        ServiceSettings.read()


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sslmode=banana", "names an sslmode that is none"),
        ("sslmode=verify-full", "asks for verify-full and names no sslrootcert"),
        ("sslmode=verify-ca&sslrootcert=/no/such/file", "names as sslrootcert a file that cannot be read"),
    ],
)
def test_what_a_url_says_of_tls_can_be_used(
    query: str, fault: str, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("MIS_DATABASE_URL", f"{REQUIRED['MIS_DATABASE_URL']}?{query}")
    with pytest.raises(SettingsError, match=f"MIS_DATABASE_URL: {fault}"):
        ServiceSettings.read()
    authority = tmp_path / "authority.pem"
    authority.touch()
    url = f"{REQUIRED['MIS_DATABASE_URL']}?sslmode=verify-full&sslrootcert={authority}"
    environment.setenv("MIS_DATABASE_URL", url)
    assert ServiceSettings.read().database_url == url


def test_the_owner_works_on_postgres_itself(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MIS_MIGRATION_DATABASE_URL", "postgresql://mis_owner@db/mis_db?pooler=transaction")
    with pytest.raises(SettingsError, match="MIS_MIGRATION_DATABASE_URL: leads to a pooler"):
        MigrationSettings.read()


def test_a_file_that_cannot_be_read_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MIS_REDIS_URL_FILE", "/no/such/file")
    with pytest.raises(SettingsError, match="MIS_REDIS_URL_FILE: /no/such/file cannot be read"):
        ServiceSettings.read()


def test_all_that_is_missing_is_told_at_once_with_its_fix() -> None:
    with pytest.raises(SettingsError) as caught:
        ServiceSettings.read()
    lines = str(caught.value).splitlines()
    assert {line.split(":")[0] for line in lines} == set(REQUIRED)
    assert all("is not set. Set it to " in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MIS_DATABASE_URL", "mysql://mis_app:secret-word@db"),
        ("MIS_REDIS_URL", "http://:secret-word@redis"),
        ("MIS_REDIS_URL", "redis+cluster://:secret-word@redis-1:6379,,redis-2:6379"),
        ("MIS_REDIS_URL", "redis://:secret-word/@redis-1:6379"),
        ("MIS_MASTER_KEYS", "k1:secret-word"),
        ("MIS_EXPECTED_PROCESSES", "secret-word"),
        ("MIS_PUBLIC_URL", "secret-word"),
    ],
)
def test_a_wrong_value_is_told_by_name_and_never_shown(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        ServiceSettings.read()
    assert str(caught.value).startswith(f"{name}: ")
    assert "secret-word" not in str(caught.value)


def test_settings_are_frozen_and_hide_their_secrets(environment: pytest.MonkeyPatch) -> None:
    settings = ServiceSettings.read()
    with pytest.raises(ValidationError, match="frozen"):
        settings.public_url = "https://evil.example"
    assert "secret-word" not in repr(settings)
    assert KEYS not in repr(settings)


def test_only_some_of_the_four_database_urls_are_refused_before_anything_starts(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with ExitStack() as stack, pytest.raises(SettingsError, match="MIS_MIGRATION_DATABASE_URL"):
        provision(LauncherSettings.read(data_dir=tmp_path / "data"), "http://127.0.0.1:1", stack)
    assert not (tmp_path / "data").exists()


def test_migrating_needs_the_owners_url() -> None:
    with pytest.raises(SettingsError, match=r"MIS_MIGRATION_DATABASE_URL: is not set.*mis_owner"):
        MigrationSettings.read()


def test_mails_come_from_the_first_base_domain_unless_an_address_is_set(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("MIS_BASE_DOMAINS", "example.com, example.org")
    assert ServiceSettings.read().mail_sender == "no-reply@example.com"
    environment.setenv("MIS_MAIL_FROM", "hello@example.org")
    assert ServiceSettings.read().mail_sender == "hello@example.org"
    environment.setenv("MIS_MAIL_FROM", "nobody")
    with pytest.raises(SettingsError, match="MIS_MAIL_FROM: is not an e-mail address"):
        ServiceSettings.read()
