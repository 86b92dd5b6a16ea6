"""Whether a process makes spans: where a setting says where to send them, and not otherwise."""

from importlib import import_module

from mis_http.service.settings import ServiceSettings
from mis_tenancy.settings import SettingsError
from mis_tenancy.tracing import Tracer


def tracer_of(settings: ServiceSettings, service: str) -> Tracer | None:
    """Return what makes the spans, None where they go nowhere; raise SettingsError without the extra.

    OpenTelemetry is loaded only where it is used: it is an extra, and its import takes its time.
    """
    if settings.traces_url is None:
        return None
    try:
        otel = import_module("mis_tenancy.otel")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"MIS_TRACES_URL is set, but {error.name} is not installed. "
            "Install mis-tenancy[tracing], or leave it out."
        ) from error
    tracer: Tracer = otel.OpenTelemetry(service, settings.traces_url)
    return tracer
