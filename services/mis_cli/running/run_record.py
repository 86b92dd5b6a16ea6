"""The file `run.json`: where a running suite is and how to sign in, for the user who runs it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mis_cli.embedded.secrets import write_private
from mis_cli.running.provisioning import Provisions


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """A demo tenant and its owner's sign-in data."""

    slug: str
    id: str
    plan: str
    email: str
    password: str


def read_record(data_dir: Path) -> dict[str, Any] | None:
    """Return the record of the suite that runs on this data directory, None where there is none."""
    try:
        document: dict[str, Any] = json.loads((data_dir / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return document


def note_demo(data_dir: Path, demo: Sequence[DemoTenant]) -> None:
    """Add the demo's sign-in data to the record of the suite that runs here, if it still does."""
    record = read_record(data_dir)
    if record is not None:
        record["demo"] = [asdict(tenant) for tenant in demo]
        write_private(data_dir / "run.json", json.dumps(record, indent=2))


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
