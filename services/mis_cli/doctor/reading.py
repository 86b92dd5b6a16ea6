"""Reads each setting by itself, so that one that is wrong hides neither the others nor what they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import create_model

from mis_cli.doctor.findings import Finding, fail, fine, reason_of, warn
from mis_cli.settings import MigrationSettings
from mis_http.service.settings import PREFIX, EnvironmentSettings, ServiceSettings
from mis_tenancy.settings import SettingsError

_FIELDS: Final = ServiceSettings.model_fields | MigrationSettings.model_fields
# Each process is handed only what it needs, so not having these is no fault; a full look needs them.
_OF_SOME: Final[Mapping[str, str]] = {
    "auth_database_url": "auth-service needs it",
    "platform_database_url": "tenant-service and the worker need it",
    "migration_database_url": "without it revision, keys and the owner's role are not looked at",
    "redis_url": "limits are then kept per process and news travel by polling",
}


@dataclass(frozen=True, slots=True)
class Readings:
    """The settings that are well-formed, by name, and what is to be said of all of them.

    `services` is what a service would start with, None where it would not start.
    """

    values: Mapping[str, Any]
    services: ServiceSettings | None
    findings: list[Finding]


def read_each(given: Mapping[str, Any]) -> Readings:
    """Read every setting from the environment, `given` first."""
    values: dict[str, Any] = {}
    findings: list[Finding] = []
    for name, field in _FIELDS.items():
        annotated: Any = (field.rebuild_annotation(), field)
        alone: Any = create_model(f"Only_{name}", __base__=EnvironmentSettings, **{name: annotated})
        try:
            values[name] = getattr(alone.read(**{name: given[name]} if name in given else {}), name)
        except SettingsError as error:
            variable = PREFIX + name.upper()
            reason = str(error).removeprefix(f"{variable}: ")
            finding = _missing(name) if name in _OF_SOME and "is not set" in reason else None
            findings.append(finding or fail(variable, reason, "See docs/operations.md for each setting."))
    findings += [_missing(name) for name in _OF_SOME if name in values and values[name] is None]
    services = _services(values, findings)
    if not any(finding.status == "fail" for finding in findings):
        findings.insert(0, fine("settings", f"{sum(v is not None for v in values.values())} are well-formed"))
    return Readings(values, services, findings)


def _missing(name: str) -> Finding:
    description = _FIELDS[name].description or ""
    return warn(f"{PREFIX}{name.upper()}", f"is not set: {_OF_SOME[name]}", description)


def _services(values: Mapping[str, Any], findings: list[Finding]) -> ServiceSettings | None:
    """Return the settings of a service, if together they are good for one."""
    if not ServiceSettings.model_fields.keys() <= values.keys():
        return None
    # What was left out stays left out, so that files and variables are not read as given twice.
    chosen = {name: values[name] for name in ServiceSettings.model_fields}
    settings = ServiceSettings.model_construct(**chosen)
    try:
        settings.tenancy("doctor")
    except SettingsError as error:
        findings.append(fail("settings", reason_of(error), "Correct the setting that it names."))
        return None
    return settings
