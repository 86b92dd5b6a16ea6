"""What the worker reads from the environment."""

from pydantic import Field

from mis_http.settings import DatabaseUrl, ServiceSettings


class WorkerSettings(ServiceSettings):
    """A service's settings, with the platform role's database required."""

    platform_database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_platform."
    )
