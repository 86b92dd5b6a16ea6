"""What the worker reads from the environment."""

from pydantic import Field

from mis_http.service.setting_types import DatabaseUrl
from mis_http.service.settings import ServiceSettings


class WorkerSettings(ServiceSettings):
    """A service's settings, with the platform role's database required."""

    platform_database_url: DatabaseUrl = Field(
        repr=False, description="Set it to the postgresql:// URL of the role mis_platform."
    )
    worker_host: str = Field(
        "127.0.0.1", description="Set it to the address that the worker shows its probes and metrics on."
    )
    worker_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Set it to the port of the worker's probes and metrics, or leave it out.",
    )
