"""What the auth service reads from the environment."""

from pydantic import Field

from mis_http.service.setting_types import DatabaseUrl
from mis_http.service.settings import ServiceSettings


class AuthSettings(ServiceSettings):
    """A service's settings, with the auth role's database required."""

    auth_database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_auth."
    )


def from_environment() -> AuthSettings:
    """Return the service's settings; raise SettingsError naming each that is missing or wrong."""
    return AuthSettings.read()
