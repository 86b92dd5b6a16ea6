"""Postgres over TLS, as URLs ask for it: verified by name and authority, at each door and by a pooler."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url, select, text

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_tenancy.postgres.engines import engine_of
from tests.certificates import Authority
from tests.mis_tenancy.conftest import Teams
from tests.mis_tenancy.projects import Project
from tests.poolers import transaction_pooler
from tests.servers import TestServers

NAMES = select(Project.tenant_id)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def postgres_behind_tls(port: int, serving: ssl.SSLContext) -> AsyncIterator[int]:
    """Yield the port of a way in to Postgres that takes nobody without TLS, as `hostssl` does."""
    tasks = set[asyncio.Task[None]]()

    async def carry(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # a coroutine that runs has a task
        asked = await client.readexactly(8)
        if asked[4:] != (80_877_103).to_bytes(4):
            answers.close()
            return
        answers.write(b"S")
        await answers.start_tls(serving)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [asyncio.create_task(_pump(*way)) for way in ((reader, answers), (client, writer))]
        tasks.update(ways)
        try:
            # Whichever end hangs up, the other is told.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, answers):
                end.transport.abort()

    async def quietly(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        try:
            await carry(client, answers)
        except (OSError, EOFError, asyncio.CancelledError):
            # Who does not trust the certificate hangs up, and so does the test in the end.
            answers.transport.abort()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()


def over_tls(url: str, place: str, authority: Authority, *more: str) -> str:
    netloc = f"{urlsplit(url).netloc.rpartition('@')[0]}@{place}"
    query = "&".join(("sslmode=verify-full", f"sslrootcert={authority.file}", *more))
    return urlsplit(url)._replace(netloc=netloc, query=query).geturl()


async def reads_its_own_rows_by_both_doors(url: str, teams: Teams) -> None:
    database = Database(url)
    await database.start()
    try:
        async with database.session(teams.a.id) as session:
            assert set(await session.scalars(NAMES)) == {teams.a.id}
        assert {row[0] for row in await database.fetch(NAMES, teams.b.id)} == {teams.b.id}
    finally:
        await database.stop()


async def refused(url: str) -> str:
    """Return why neither the doors nor an engine enters by a URL."""
    database = Database(url)
    with pytest.raises(ssl.SSLCertVerificationError) as at_start:
        await database.start()
    await database.stop()
    engine = engine_of(make_url(url))
    with pytest.raises(ssl.SSLCertVerificationError):
        await engine.connect()
    await engine.dispose()
    return str(at_start.value)


async def test_a_verified_server_is_entered_by_both_doors_and_by_the_owner(
    test_servers: TestServers, door_urls: DatabaseUrls, teams: Teams, authority: Authority
) -> None:
    async with postgres_behind_tls(test_servers.postgres.port, authority.serving("localhost")) as port:
        place = f"localhost:{port}"
        await reads_its_own_rows_by_both_doors(over_tls(door_urls.app, place, authority), teams)
        # What migrations are run through.
        engine = engine_of(make_url(over_tls(door_urls.owner, place, authority)))
        async with engine.connect() as connection:
            assert await connection.scalar(text("select current_user")) == "mis_owner"
        await engine.dispose()


async def test_a_name_or_an_authority_that_is_another_is_refused_by_both_doors(
    test_servers: TestServers,
    door_urls: DatabaseUrls,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    async with postgres_behind_tls(test_servers.postgres.port, authority.serving("localhost")) as port:
        assert "127.0.0.1" in await refused(over_tls(door_urls.app, f"127.0.0.1:{port}", authority))
        assert "issuer" in await refused(over_tls(door_urls.app, f"localhost:{port}", stranger))


async def test_through_a_pooler_both_ways_are_verified(
    test_servers: TestServers, door_urls: DatabaseUrls, teams: Teams, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the pooler by our URL, and from there to Postgres by the pooler's own settings."""
    directory = test_servers.postgres.directory.parent / f"pooler-tls-{test_servers.worker or 'alone'}"
    directory.mkdir(mode=0o755, exist_ok=True)
    authority = Authority(directory)
    authority.file.chmod(0o644)
    certificate = authority.issue("localhost")
    certificate.chmod(0o644)
    settings = {
        "client_tls_sslmode": "require",
        "client_tls_cert_file": certificate,
        "client_tls_key_file": certificate,
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": authority.file,
    }
    async with postgres_behind_tls(test_servers.postgres.port, authority.serving("127.0.0.1")) as port:
        with transaction_pooler(
            test_servers.postgres, directory / "pooler", size=2, beyond=port, more=settings
        ) as pooler:
            place, say = f"localhost:{pooler.address.port}", f"pooler={pooler.address.pooler}"
            await reads_its_own_rows_by_both_doors(over_tls(door_urls.app, place, authority, say), teams)
            stranger = Authority(tmp_path_factory.mktemp("stranger"))
            assert "issuer" in await refused(over_tls(door_urls.app, place, stranger, say))
