"""The Kubernetes manifests are valid, refer to what there is, and let a pod do no more than it must."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from typer.testing import CliRunner

from auth_service.settings import AuthSettings
from mis_cli.main import app
from mis_cli.settings import BackupSettings, MigrationSettings, ServingSettings
from mis_http.service.settings import EnvironmentSettings
from mis_worker.settings import WorkerSettings
from tenant_service.settings import TenantServiceSettings

ROOT: Final = Path(__file__).resolve().parents[2]
K8S: Final = ROOT / "k8s"
FILES: Final = sorted(file for file in K8S.rglob("*.yaml") if file.name != "kustomization.yaml")
KUSTOMIZATIONS: Final = sorted(K8S.rglob("kustomization.yaml"))
# Kinds that come with an operator, whose schemas are not Kubernetes' own.
EXTENSIONS: Final = {"HTTPRoute", "ServiceMonitor", "PrometheusRule", "ExternalSecret"}
READ: Final[tuple[type[EnvironmentSettings], ...]] = (
    TenantServiceSettings,
    AuthSettings,
    WorkerSettings,
    ServingSettings,
    MigrationSettings,
    BackupSettings,
)


@cache
def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def base(kind: str) -> list[dict[str, Any]]:
    return [one for file in (K8S / "base").glob("*.yaml") for one in documents(file) if one["kind"] == kind]


BACKUP: Final = {one["kind"]: one for one in documents(K8S / "components" / "backup" / "backup.yaml")}


def pods() -> list[tuple[str, dict[str, Any]]]:
    found = [one for kind in ("Deployment", "Job") for one in base(kind)]
    nightly = BACKUP["CronJob"]
    return [
        *((one["metadata"]["name"], one["spec"]["template"]["spec"]) for one in found),
        (nightly["metadata"]["name"], nightly["spec"]["jobTemplate"]["spec"]["template"]["spec"]),
    ]


def each_pod() -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "pod"), pods(), ids=[name for name, _ in pods()])


def test_what_is_rendered_is_up_to_date(tmp_path: Path) -> None:
    for part in (K8S, ROOT / "infrastructure" / "monitoring"):
        shutil.copytree(part, tmp_path / part.relative_to(ROOT))
    subprocess.run([sys.executable, tmp_path / "k8s" / "render.py"], check=True)  # noqa: S603
    for file in FILES:
        again = tmp_path / "k8s" / file.relative_to(K8S)
        assert again.read_text() == file.read_text(), f"{file.name} is stale: make manifests"


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(K8S)) for file in FILES])
def test_every_object_is_what_kubernetes_takes(file: Path) -> None:
    """Catalogue 144."""
    for one in documents(file):
        if one["kind"] not in EXTENSIONS:
            kubernetes_validate.validate(one, "1.31", strict=True)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "mis"


@each_pod()
def test_a_pod_may_do_no_more_than_the_restricted_standard_lets_it(name: str, pod: dict[str, Any]) -> None:
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} == set(container["resources"])
    kinds = {"secret", "emptyDir", *(["persistentVolumeClaim"] if name == "backup" else [])}
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= kinds


@each_pod()
def test_every_variable_is_a_setting_and_every_secret_is_read(name: str, pod: dict[str, Any]) -> None:
    known = {f"MIS_{field.upper()}" for settings in READ for field in settings.model_fields}
    (container,) = pod["containers"]
    if name == "description":
        # It reads nothing, so nothing is handed to it.
        assert "env" not in container
        assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]
        return
    assert {one["name"].removesuffix("_FILE") for one in container["env"]} <= known
    # What may be left out comes as a variable: a file that is named and is not there is a mistake.
    optional = {
        one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"] if "value" not in one
    }
    assert all(key["optional"] is True and key["name"] == "mis-secrets" for key in optional.values())
    assert set(optional) <= {"MIS_SMTP_URL"}
    variables = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert {f"/run/mis/{item['path']}" for item in secret["items"]} == set(variables.values())


def test_the_config_map_holds_settings() -> None:
    known = {f"MIS_{field.upper()}" for settings in READ for field in settings.model_fields}
    (settings,) = base("ConfigMap")
    assert set(settings["data"]) <= known


@pytest.mark.parametrize("deployment", base("Deployment"), ids=lambda one: one["metadata"]["name"])
def test_a_deployment_is_probed_scaled_spread_and_walled_in(deployment: dict[str, Any]) -> None:
    name = deployment["metadata"]["name"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
    assert pod["topologySpreadConstraints"]
    assert "replicas" not in deployment["spec"]
    assert name in {one["spec"]["scaleTargetRef"]["name"] for one in base("HorizontalPodAutoscaler")}
    for kind, selector in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        selected = [one["spec"][selector].get("matchLabels", {}).get("app") for one in base(kind)]
        assert selected.count(name) == 1, kind


def test_the_monitor_finds_every_service_and_calls_it_as_the_rules_do() -> None:
    (monitor,) = documents(K8S / "monitoring" / "monitor.yaml")
    (endpoint,) = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    for service in base("Service"):
        assert wanted <= service["metadata"]["labels"].items()
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    labels = {one["targetLabel"]: one for one in endpoint["relabelings"]}
    assert labels["process"]["sourceLabels"] == ["__meta_kubernetes_service_label_app"]
    assert labels["job"]["replacement"] == "mis"
    (rules,) = documents(K8S / "monitoring" / "rules.yaml")
    gone = next(
        rule["expr"]
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "MisServiceGone"
    )
    for service in base("Service"):
        name = service["metadata"]["labels"]["app"]
        # Nobody's work waits for the description, and compose has no process of it.
        assert (f'process="{name}"' in gone) is (name != "description")


def test_prometheus_and_the_gateway_get_in_and_pods_get_out_to_what_they_need() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in base("NetworkPolicy")}
    for deployment in base("Deployment"):
        policy = policies[deployment["metadata"]["name"]]
        let_in = {
            next(iter(peer["namespaceSelector"]["matchLabels"]))
            for rule in policy["ingress"]
            for peer in rule["from"]
        }
        worker = deployment["metadata"]["name"] == "worker"
        assert let_in == ({"mis/monitoring"} if worker else {"mis/monitoring", "mis/gateway"})
        reached = {port["port"] for rule in policy.get("egress", ()) for port in rule["ports"]}
        if deployment["metadata"]["name"] == "description":
            assert not reached
            continue
        # Names, Postgres and its pooler, Redis, the store, mail, a collector of traces.
        assert {53, 5432, 6432, 6379, 443, 587, 4318} <= reached
    assert {port["port"] for rule in policies["migrations"]["egress"] for port in rule["ports"]} == {53, 5432}


def test_a_backup_is_made_every_night_by_one_pod_that_reads_no_master_key() -> None:
    job, pod = BACKUP["CronJob"]["spec"], pods()[-1][1]
    assert (job["schedule"], job["timeZone"], job["concurrencyPolicy"]) == ("17 2 * * *", "Etc/UTC", "Forbid")
    assert BACKUP["PersistentVolumeClaim"]["metadata"]["name"] in {
        volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["volumes"]
    }
    (container,) = pod["containers"]
    # The command itself takes these words.
    read = CliRunner().invoke(
        app, [*container["args"]], env={"MIS_MIGRATION_DATABASE_URL": "", "MIS_DATA_DIR": "/none"}
    )
    assert (read.exit_code, "MIS_MIGRATION_DATABASE_URL" in read.stderr) == (2, True)
    place = next(one["mountPath"] for one in container["volumeMounts"] if one["name"] == "backups")
    assert container["args"][1].startswith(f"{place}/")
    assert {one["name"] for one in container["env"]} == {"MIS_MIGRATION_DATABASE_URL_FILE"}
    assert BACKUP["ServiceAccount"]["metadata"]["name"] == pod["serviceAccountName"]
    labels = BACKUP["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert BACKUP["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    reached = {port["port"] for rule in BACKUP["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]}
    assert {53, 5432, 443} <= reached


def test_processes_share_limits_as_many_as_there_may_be() -> None:
    scalers = {one["metadata"]["name"]: one["spec"]["maxReplicas"] for one in base("HorizontalPodAutoscaler")}
    (settings,) = base("ConfigMap")
    serving = sum(most for name, most in scalers.items() if name.endswith("-service"))
    assert settings["data"]["MIS_EXPECTED_PROCESSES"] == str(serving)


def test_a_pod_has_time_to_end_what_it_has_begun() -> None:
    (settings,) = base("ConfigMap")
    drain = float(settings["data"]["MIS_DRAIN_SECONDS"])
    for deployment in base("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        hook = pod["containers"][0].get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})
        before = float(hook["exec"]["command"][1])
        # Ten seconds for the requests that are under way, and some for the goodbye.
        assert pod["terminationGracePeriodSeconds"] >= before + drain + 15


def test_nothing_is_let_in_or_out_by_default() -> None:
    (deny,) = [one for one in base("NetworkPolicy") if one["metadata"]["name"] == "default-deny"]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_route_leads_to_ports_of_services() -> None:
    ports = {one["metadata"]["name"]: one["spec"]["ports"][0]["port"] for one in base("Service")}
    (route,) = base("HTTPRoute")
    for rule in route["spec"]["rules"]:
        (backend,) = rule["backendRefs"]
        assert ports[backend["name"]] == backend["port"]


@pytest.mark.parametrize("file", KUSTOMIZATIONS, ids=[str(file.relative_to(K8S)) for file in KUSTOMIZATIONS])
def test_a_kustomization_names_files_that_are_there(file: Path) -> None:
    (kustomization,) = documents(file)
    for resource in kustomization["resources"]:
        assert (file.parent / resource).exists(), resource
    if file.parent == K8S / "base":
        assert {*kustomization["resources"], "kustomization.yaml"} == {
            one.name for one in file.parent.iterdir()
        }


def test_the_tenant_service_alone_needs_only_its_secret() -> None:
    kinds = {(one["kind"], one["metadata"]["name"]) for one in documents(K8S / "tenant-service.yaml")}
    assert {("Namespace", "mis"), ("ConfigMap", "mis-settings"), ("Deployment", "tenant-service")} <= kinds
    assert {name for _, name in kinds} == {"mis", "mis-settings", "tenant-service"}


def kustomized(overlay: Path) -> list[dict[str, Any]]:
    built = subprocess.run(  # noqa: S603
        ["kubectl", "kustomize", overlay],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    )
    return list(yaml.safe_load_all(built.stdout))


@pytest.mark.kubectl
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="There is no kubectl here.")
@pytest.mark.parametrize("overlay", ["local", "production"])
def test_kustomize_builds_each_overlay(overlay: str) -> None:
    for one in kustomized(K8S / "overlays" / overlay):
        assert one["kind"] != "CronJob"
        if one["kind"] not in EXTENSIONS:
            kubernetes_validate.validate(one, "1.31", strict=True)


@pytest.mark.kubectl
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="There is no kubectl here.")
def test_an_overlay_that_asks_for_backups_gets_them_with_its_own_image(tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    production = tmp_path / "k8s" / "overlays" / "production"
    asked = (production / "kustomization.yaml").read_text() + "components: [../../components/backup]\n"
    (production / "kustomization.yaml").write_text(asked)
    (nightly,) = [one for one in kustomized(production) if one["kind"] == "CronJob"]
    kubernetes_validate.validate(nightly, "1.31", strict=True)
    (container,) = nightly["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/mis:0.1.0"
