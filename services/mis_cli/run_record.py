"""The file `run.json`: where a running suite is and how to sign in, for the user who runs it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mis_cli.embedded.secrets import write_private
from mis_cli.provisioning import Provisions


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """A demo tenant and its owner's sign-in data."""

    slug: str
    id: str
    plan: str
    email: str
    password: str


class RunRecord:
    """The record of one running suite; written whole each time, removed when the suite stops."""

    def __init__(self, data_dir: Path, base_url: str, provisions: Provisions) -> None:
        self.path = data_dir / "run.json"
        self._base_url = base_url
        self._provisions = provisions

    def write(self, demo: Sequence[DemoTenant] = ()) -> None:
        """Write the record, readable by this user only."""
        write_private(self.path, json.dumps(self._document(demo), indent=2))

    def remove(self) -> None:
        """Remove the record, so that nobody takes a stopped suite for a running one."""
        self.path.unlink(missing_ok=True)

    def _document(self, demo: Sequence[DemoTenant]) -> dict[str, Any]:
        provisions = self._provisions
        databases = provisions.databases.shown
        return {
            "baseUrl": self._base_url,
            "services": dict.fromkeys(("tenant", "auth", "user"), self._base_url),
            "databaseUrl": databases.app,
            "authDatabaseUrl": databases.auth,
            "platformDatabaseUrl": databases.platform,
            "migrationDatabaseUrl": databases.owner,
            "redisUrl": provisions.services.redis_url,
            "storageUrl": provisions.services.storage_url,
            "operator": {"email": provisions.operator_email, "password": provisions.operator_password},
            "demo": [asdict(tenant) for tenant in demo],
        }
