"""A directory in which backups gather, each named by its time: the newest stay, the oldest go.

Only after a new one is finished does an old one go, and never anything that is no finished backup of the same
kind: whoever keeps something else beside them finds it again.
"""

from datetime import UTC, datetime
from pathlib import Path

from mis_cli.backups.errors import BackupRefused
from mis_cli.backups.manifest import Manifest, TenantManifest, read_any_manifest, remove


def named_by_time(gathered: Path) -> Path:
    """Return the name for a backup of this moment, which sorts by its time."""
    return gathered / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")


def keep_newest(gathered: Path, new: Manifest | TenantManifest, keep: int) -> list[str]:
    """Remove all but the `keep` newest backups of the kind (and the tenant) of `new`; return their names."""
    found = [(time, path) for path in gathered.iterdir() if (time := _time(path, new.whose)) is not None]
    old = [path for _, path in sorted(found)[:-keep]]
    for path in old:
        remove(path)
    return [path.name for path in old]


def _time(path: Path, whose: str | None) -> str | None:
    """Return when a backup was made, None for what is none or somebody else's."""
    # A link such as `latest` leads to a backup, and must not be taken for another one.
    if path.is_symlink():
        return None
    try:
        found = read_any_manifest(path)
    except BackupRefused:
        return None
    return found.created_at if found.whose == whose else None
