"""The compose file says nothing that the settings, the image or its own lists do not know."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator

from auth_service.settings import AuthSettings
from mis_cli.deployment_secrets import write_secrets
from mis_cli.settings import MigrationSettings, ServingSettings
from mis_http.service.settings import EnvironmentSettings
from mis_worker.settings import WorkerSettings
from tenant_service.settings import TenantServiceSettings

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "docker-compose.tenant.yml"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
OURS: Final = ("tenant-service", "auth-service", "user-service", "worker", "tenant-service-migrations")
READ: Final[tuple[type[EnvironmentSettings], ...]] = (
    TenantServiceSettings,
    AuthSettings,
    WorkerSettings,
    ServingSettings,
    MigrationSettings,
)


def known() -> set[str]:
    return {f"MIS_{name.upper()}" for settings in READ for name in settings.model_fields}


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting(service: str) -> None:
    named = {name.removesuffix("_FILE") for name in SERVICES[service]["environment"]}
    assert named <= known()


@pytest.mark.parametrize("service", OURS)
def test_every_secret_is_a_file_that_its_container_is_handed(service: str, tmp_path: Path) -> None:
    write_secrets(tmp_path)
    (volume,) = [one for one in SERVICES[service]["volumes"] if one.startswith("secrets-")]
    handed = tmp_path / volume.split(":")[0].removeprefix("secrets-")
    wanted = {
        Path(value).name for name, value in SERVICES[service]["environment"].items() if name.endswith("_FILE")
    }
    assert {file.name for file in handed.iterdir()} == wanted


def test_the_gateway_shows_what_the_image_describes() -> None:
    described = SERVICES["description"]["command"]
    assert described[0] == "describe"
    assert f"description:{described[1]}" in SERVICES["description"]["volumes"]
    assert f"description:{described[1]}:ro" in SERVICES["gateway"]["volumes"]
    caddy = (ROOT / "infrastructure" / "gateway" / "Caddyfile").read_text()
    assert f"root * {described[1]}" in caddy


def test_whichever_container_is_started_first_has_the_image_built() -> None:
    for name, service in SERVICES.items():
        if service["image"] == SERVICES["secrets"]["image"]:
            assert service["build"] == SERVICES["secrets"]["build"], name


def test_each_service_takes_its_share_while_redis_is_away() -> None:
    serving = [name for name, one in SERVICES.items() if one.get("command", [""])[0] == "serve"]
    for name in serving:
        assert SERVICES[name]["environment"]["MIS_EXPECTED_PROCESSES"] == str(len(serving))


def test_no_password_stands_in_the_file() -> None:
    assert not re.search(r"(?i)(password|secret_key|master_keys)\s*[:=]\s*[^\s/$]", FILE.read_text())


def test_every_volume_is_declared_and_every_mounted_file_is_there() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), (name, source)
            else:
                assert source in COMPOSE["volumes"], (name, source)


@pytest.mark.parametrize("service", [*OURS, "description", "tenant-service-tests"])
def test_our_containers_can_neither_write_their_files_nor_gain_rights(service: str) -> None:
    container = SERVICES[service]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in container
    assert "user" not in container


def test_everything_that_is_waited_for_can_say_that_it_is_well() -> None:
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (name, other)


def test_grafana_lets_nobody_in_without_its_own_password(tmp_path: Path) -> None:
    write_secrets(tmp_path)
    told = SERVICES["grafana"]["environment"]
    assert told["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/mis/password"
    assert (tmp_path / "grafana" / "password").read_text()
    assert told["GF_AUTH_ANONYMOUS_ENABLED"] == told["GF_USERS_ALLOW_SIGN_UP"] == "false"


def test_only_the_gateway_may_be_reached_from_other_machines() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("${GATEWAY_BIND:-127.0.0.1}:" if name == "gateway" else "127.0.0.1:"), name


def test_it_is_what_the_specification_of_compose_files_says() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = Draft202012Validator(json.loads(schema.read_text()))
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    # It would say so if there were something to say.
    assert not validator.is_valid(COMPOSE | {"services": {"gateway": {"port": 80}}})


def has_compose(command: Sequence[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run([*command, "version"], capture_output=True).returncode == 0  # noqa: S603


@pytest.mark.docker
@pytest.mark.parametrize("command", [("docker-compose",), ("docker", "compose")], ids=" ".join)
def test_compose_reads_it(command: Sequence[str]) -> None:
    if not has_compose(command):
        pytest.skip(f"There is no {' '.join(command)} here.")
    subprocess.run([*command, "-f", FILE, "--profile", "tests", "config", "-q"], check=True)  # noqa: S603


@pytest.mark.skipif(shutil.which("caddy") is None, reason="There is no Caddy here.")
def test_caddy_reads_its_file() -> None:
    file = ROOT / "infrastructure" / "gateway" / "Caddyfile"
    command = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(file)]
    subprocess.run(command, check=True, capture_output=True, env={"MIS_GATEWAY_ISSUER": "internal"})  # noqa: S603
