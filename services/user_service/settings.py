"""What the user service reads from the environment."""

from mis_http.service.settings import ServiceSettings


def from_environment() -> ServiceSettings:
    """Return the service's settings; raise SettingsError naming each that is missing or wrong."""
    return ServiceSettings.read()
