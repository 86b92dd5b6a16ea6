"""What the tenant service reads from the environment."""

from pydantic import Field

from mis_http.service.setting_types import DatabaseUrl
from mis_http.service.settings import ServiceSettings


class TenantServiceSettings(ServiceSettings):
    """A service's settings, with the platform role's database required, as which operators make tenants."""

    platform_database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_platform."
    )


def from_environment() -> TenantServiceSettings:
    """Return the settings; raise SettingsError naming each that is missing or wrong."""
    return TenantServiceSettings.read()
