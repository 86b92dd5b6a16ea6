"""The embedded Postgres: it keeps its data, its doors shut, and gets up again after anything."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from mis_cli.embedded import EmbeddedPostgres, EmbeddedServerError, database_urls, prepare_database
from mis_cli.embedded.cluster import SUPERUSER
from mis_cli.embedded.processes import leftovers
from mis_cli.migrations import ROLES_FILE

LAUNCHER = """
import sys, time
from pathlib import Path
from mis_cli.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
postgres.start()
print(postgres.pid, flush=True)
time.sleep(60)
"""


def test_data_outlives_a_restart_and_a_crash(place: Path) -> None:
    postgres = EmbeddedPostgres(place / "postgres", durable=True)
    with postgres:
        postgres.address.query("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
    postgres.start()
    postgres.address.query("INSERT INTO kept VALUES (2)")
    postgres.kill()
    with postgres:
        assert postgres.address.query("SELECT sum(n) FROM kept") == "3"
    assert postgres.pid is None


def test_two_run_side_by_side_and_a_second_launcher_of_one_is_refused(place: Path) -> None:
    with EmbeddedPostgres(place / "a", durable=False) as a, EmbeddedPostgres(place / "b", durable=False) as b:
        assert a.address.port != b.address.port
        with pytest.raises(EmbeddedServerError, match=f"in use by process {os.getpid()}"):
            EmbeddedPostgres(place / "a", durable=False).start()
        assert a.address.query("SELECT 1") == "1"


def test_a_killed_launcher_leaves_nothing_that_hinders_the_next(place: Path) -> None:
    directory = place / "postgres"
    launcher = subprocess.Popen(  # noqa: S603 - this very test's program.
        [sys.executable, "-c", LAUNCHER, str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    first = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    with EmbeddedPostgres(directory, durable=False) as postgres:
        assert postgres.address.query("SELECT 1") == "1"
        running = leftovers((directory / "cluster").resolve(), ("postgres",))
        assert postgres.pid in {process.pid for process in running}
        assert first not in {process.pid for process in running}


def test_a_server_without_launcher_is_ended_by_the_next_start(place: Path) -> None:
    orphan = EmbeddedPostgres(place / "postgres", durable=False)
    orphan.start()
    # What a dead launcher leaves where the kernel does not tell its children: a free lock, a running server.
    orphan._lock.release()
    with EmbeddedPostgres(place / "postgres", durable=False) as postgres:
        assert orphan.pid is None
        assert postgres.address.query("SELECT 1") == "1"


def test_a_recycled_process_id_in_the_old_note_hinders_nothing(place: Path) -> None:
    postgres = EmbeddedPostgres(place / "postgres", durable=False)
    with postgres, EmbeddedPostgres(place / "stranger", durable=False) as stranger:
        note = place / "postgres" / "cluster" / "postmaster.pid"
        text = note.read_text().splitlines()
        postgres.kill()
        note.write_text("\n".join([str(stranger.pid), *text[1:]]) + "\n")
        postgres.start()
        assert postgres.address.query("SELECT 1") == "1"
        assert stranger.pid is not None


def test_a_half_made_cluster_is_made_anew(place: Path) -> None:
    draft = place / "postgres" / "cluster.draft"
    draft.mkdir(parents=True)
    (place / "postgres").chmod(0o711)
    (draft / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(place / "postgres", durable=False) as postgres:
        assert postgres.address.query("SELECT 1") == "1"
    assert not draft.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_a_directory_closed_to_others_serves_root_all_the_same(closed_place: Path) -> None:
    postgres = EmbeddedPostgres(closed_place / "postgres", durable=False)
    with postgres:
        postgres.address.query("CREATE TABLE kept (n int)")
        assert postgres.pid is not None
        assert psutil.Process(postgres.pid).username() == "nobody"
    with postgres:
        assert postgres.address.query("SELECT count(*) FROM kept") == "0"


async def test_nobody_enters_without_the_password_by_socket_or_tcp(place: Path) -> None:
    with EmbeddedPostgres(place / "postgres", durable=False) as postgres:
        address = postgres.address
        assert address.socket_directory is not None
        for tcp in (True, False):
            for password in ("", "wrong"):
                with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
                    await asyncpg.connect(address.url(SUPERUSER, password, "postgres", tcp=tcp))
        for file in (place / "postgres").glob("*.json"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_four_roles_sign_in_and_only_the_owner_owns(place: Path) -> None:
    with EmbeddedPostgres(place / "postgres", durable=False) as postgres:
        urls = prepare_database(postgres.address, ROLES_FILE)
        assert prepare_database(postgres.address, ROLES_FILE) == urls
        shown = database_urls(postgres.address, tcp=True)
        for url, role in ((urls.app, "mis_app"), (shown.owner, "mis_owner"), (shown.auth, "mis_auth")):
            connection = await asyncpg.connect(url)
            assert (
                await connection.fetchval("SELECT current_user || '@' || current_database()")
                == f"{role}@mis_db"
            )
            await connection.close()
        strong = postgres.address.query(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'mis_%' AND (rolsuper OR rolbypassrls)"
        )
        assert strong == ""


def test_a_socket_path_too_long_for_the_kernel_leaves_tcp(place: Path) -> None:
    directory = place / ("long-" * 16) / "postgres"
    with EmbeddedPostgres(directory, durable=False) as postgres:
        assert postgres.address.socket_directory is None
        assert "127.0.0.1" in postgres.address.url("mis_app", "x", "mis_db")
        assert postgres.address.query("SELECT 1") == "1"


def test_a_server_that_cannot_start_shows_the_end_of_its_log(place: Path) -> None:
    with EmbeddedPostgres(place / "postgres", durable=False):
        pass
    configuration = place / "postgres" / "cluster" / "postgresql.conf"
    configuration.write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        EmbeddedPostgres(place / "postgres", durable=False).start()


def test_stopping_ends_every_process_of_the_server(place: Path) -> None:
    postgres = EmbeddedPostgres(place / "postgres", durable=False)
    postgres.start()
    cluster = (place / "postgres" / "cluster").resolve()
    assert leftovers(cluster, ("postgres",))
    postgres.stop()
    postgres.stop()
    assert leftovers(cluster, ("postgres",)) == []
