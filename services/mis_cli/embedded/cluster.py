"""The files of an embedded Postgres: where they can lie, and how they come to be.

Postgres refuses to run as root, so a root launcher runs it as `nobody`. Where `nobody` cannot walk to the
directory (root's home, for one), the cluster lies in a public place and the directory holds a link to it.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mis_cli.embedded.binaries import enterable, shared_place
from mis_cli.embedded.processes import EmbeddedServerError, Identity, run
from mis_cli.embedded.secrets import write_private

SUPERUSER: Final = "postgres"
# The kernel allows 107 bytes for a socket's path, of which the file's own name takes a part.
_LONGEST_SOCKET_DIRECTORY: Final = 80


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's data directory and, where its path is short enough, the directory of its socket."""

    data: Path
    sockets: Path | None


def open_cluster(
    directory: Path, programs: Path, identity: Identity | None, password: str, *, durable: bool
) -> Cluster:
    """Return the directory's cluster, made on first use with `password` for the superuser.

    Call it while no server runs there. Raises `EmbeddedServerError` where the server could not reach it.
    """
    link = directory / "cluster"
    if not link.exists():
        home = _home(directory, identity)
        _initialise(home, programs, identity, password, durable=durable)
        if home != directory:
            link.unlink(missing_ok=True)
            link.symlink_to(home / "cluster", target_is_directory=True)
    data = link.resolve()
    if identity is not None and not enterable(data.parent):
        raise EmbeddedServerError(
            f"Postgres runs as the user `nobody`, who cannot reach {data}. Move it to where others may enter "
            "(`chmod o+x` on the directories above it), or choose another data directory."
        )
    return Cluster(data, _socket_directory(data.parent, identity))


def _home(directory: Path, identity: Identity | None) -> Path:
    if identity is None or enterable(directory):
        return directory
    home = Path(tempfile.mkdtemp(prefix="cluster-", dir=shared_place()))
    home.chmod(0o711)
    return home


def _initialise(
    home: Path, programs: Path, identity: Identity | None, password: str, *, durable: bool
) -> None:
    # A draft that a killed launcher left is half a cluster; only a finished one gets the name.
    draft = home / "cluster.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password_file = home / "superuser.password"
    write_private(password_file, password)
    for path in (draft, password_file):
        _give(path, identity)
    options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["--auth=scram-sha-256", f"--pwfile={password_file}", f"--username={SUPERUSER}"]
    if not durable:
        options.append("--no-sync")
    try:
        run([programs / "initdb", f"--pgdata={draft}", *options, *access], identity=identity)
    finally:
        password_file.unlink()
    draft.rename(home / "cluster")


def _socket_directory(home: Path, identity: Identity | None) -> Path | None:
    sockets = home / "socket"
    if len(os.fsencode(sockets)) > _LONGEST_SOCKET_DIRECTORY:
        return None
    # Sockets that a killed server left behind would only be in the way.
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir(mode=0o700)
    _give(sockets, identity)
    return sockets


def _give(path: Path, identity: Identity | None) -> None:
    if identity is not None:
        os.chown(path, identity.uid, identity.gid)
