"""Renders the manifests of the suite's processes from one template, and the rules: `make manifests`.

Kustomize takes `base` as it lies there; `tenant-service.yaml` is what of it the tenant service alone needs,
in one file for `kubectl apply -f`.
"""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE: Final = Path(__file__).resolve().parent
BASE: Final = HERE / "base"
ALONE: Final = HERE / "tenant-service.yaml"
RULES: Final = HERE / "monitoring" / "rules.yaml"
_RULES_SOURCE: Final = HERE.parent / "infrastructure" / "monitoring" / "rules.yml"
_HEAD: Final = (
    "# Rendered from k8s/base by `make manifests`. It needs the Secret mis-secrets (docs/operations.md).\n"
)

_RULES_HEAD: Final = """\
# Rendered from infrastructure/monitoring/rules.yml by `make manifests`; edit that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: mis
  namespace: mis
spec:
"""

_EVERY: Final = ("MIS_DATABASE_URL", "MIS_REDIS_URL", "MIS_MASTER_KEYS")
_PLATFORM: Final = "MIS_PLATFORM_DATABASE_URL"
PROCESSES: Final[dict[str, dict[str, Any]]] = {
    "tenant-service": {"args": ["serve", "tenant"], "port": 3006, "variables": (*_EVERY, _PLATFORM)},
    "auth-service": {
        "args": ["serve", "auth"],
        "port": 3001,
        "variables": (*_EVERY, "MIS_AUTH_DATABASE_URL", "MIS_OPERATOR_EMAIL", "MIS_OPERATOR_PASSWORD"),
    },
    "user-service": {"args": ["serve", "user"], "port": 3002, "variables": _EVERY},
    "worker": {
        "args": ["worker", "--host", "0.0.0.0", "--port", "9090"],  # noqa: S104  # within its pod
        "port": 9090,
        "variables": (*_EVERY, _PLATFORM, "MIS_OPERATOR_EMAIL"),
        # Without it no mail is sent.
        "optional": ("MIS_SMTP_URL",),
    },
    # It reads no setting and connects to nothing, so it is handed nothing and let out nowhere.
    "description": {
        "args": ["serve", "description"],
        "port": 3003,
        "variables": (),
        "requests": "{cpu: 50m, memory: 256Mi}",
        "replicas": (1, 2),
    },
}
_DEFAULTS: Final[dict[str, Any]] = {
    "optional": (),
    "requests": "{cpu: 250m, memory: 256Mi}",
    "replicas": (2, 10),
}


def key(variable: str) -> str:
    """Return the key of the Secret that holds a setting."""
    return variable.removeprefix("MIS_").lower().replace("_", "-")


def rendered() -> dict[Path, str]:
    """Return what each rendered file holds."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # YAML, of our own values
        keep_trailing_newline=True,
    )
    environment.filters["key"] = key
    template = environment.get_template("service.yaml.j2")
    files = {
        BASE / f"{name}.yaml": template.render(name=name, is_public=name != "worker", **_DEFAULTS | process)
        for name, process in PROCESSES.items()
    }
    parts = [(BASE / f"{name}.yaml").read_text() for name in ("namespace", "settings")]
    groups = _RULES_SOURCE.read_text().splitlines(keepends=True)
    files[RULES] = _RULES_HEAD + "".join(f"  {line}" if line.strip() else line for line in groups)
    return files | {ALONE: _HEAD + "---\n".join([*parts, files[BASE / "tenant-service.yaml"]])}


if __name__ == "__main__":
    for file, text in rendered().items():
        file.write_text(text)
