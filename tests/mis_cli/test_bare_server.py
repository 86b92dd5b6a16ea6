"""A deployment on a server that has neither roles nor database, as after its machine was lost."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from mis_cli.backups.bare_server import verifier
from mis_cli.embedded import ROLES, DatabaseUrls, EmbeddedPostgres, PostgresAddress
from mis_cli.exits import CANNOT_START
from tests.answers import fine
from tests.mis_cli.backups import Place, inhabit, look
from tests.mis_cli.command_line import CommandLine
from tests.servers import TestServers, remove_server_directory
from tests.tenant_service.requests import TENANTS


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresAddress]:
    """A cluster that nobody has touched."""
    directory = tmp_path_factory.mktemp("bare")
    with EmbeddedPostgres(directory / "postgres", durable=False) as postgres:
        yield postgres.address
    remove_server_directory(directory)


def chosen(address: PostgresAddress) -> DatabaseUrls:
    """Return URLs with passwords that somebody has made up for roles that are not there yet."""
    words = {role: f"it's {secrets.token_urlsafe(9)} %&/@:" for role in ROLES}
    urls = {
        role: f"postgresql://{role}:{quote(word, safe='')}@127.0.0.1:{address.port}/Another%20name"
        for role, word in words.items()
    }
    return DatabaseUrls(urls["mis_owner"], urls["mis_app"], urls["mis_auth"], urls["mis_platform"])


async def test_a_deployment_comes_back_on_a_bare_server_and_serves(
    test_servers: TestServers, bare: PostgresAddress, tmp_path: Path
) -> None:
    """Catalogue 47."""
    lost = Place(test_servers, test_servers.database("lost"), tmp_path / "lost")
    async with lost.suite() as suite:
        one = await inhabit(suite, "one")
    await lost.mis.json("backup", tmp_path / "backup")
    found = Place(test_servers, chosen(bare), tmp_path / "found")
    without = await found.mis("restore", tmp_path / "backup")
    assert without.exit_code == CANNOT_START
    assert "MIS_SUPERUSER_DATABASE_URL" in without.stderr
    mis = CommandLine(found.env | {"MIS_SUPERUSER_DATABASE_URL": bare.superuser_url})
    (told,) = await mis.json("restore", tmp_path / "backup")
    assert (told["faults"], told["left"]) == ([], [])
    # The services come up as roles of their own, with the passwords that were chosen.
    async with found.suite() as suite:
        owner = await suite.sign_in(one.tenant.slug, one.tenant.owner.email, one.tenant.owner.password)
        assert await look(suite, one, owner.auth) == one.seen
        path = f"{TENANTS}/{one.tenant.id}"
        verdict = await suite.client.post(f"{path}/isolation/verify", headers=owner.auth)
        assert fine(verdict)["status"] == "isolated"
        log = await suite.client.get(f"{path}/audit-logs/verify", headers=owner.auth)
        assert fine(log)["intact"] is True
    # Once more: what is there keeps its password, whatever a URL says of it.
    (told,) = await mis.json("restore", tmp_path / "backup", "--replace")
    assert told["faults"] == []


@pytest.mark.parametrize("lacking", ["MIS_AUTH_DATABASE_URL", "MIS_PLATFORM_DATABASE_URL"])
async def test_no_role_is_made_without_a_password(
    test_servers: TestServers, bare: PostgresAddress, tmp_path: Path, lacking: str
) -> None:
    place = Place(test_servers, test_servers.database("lost"), tmp_path)
    await place.mis.json("backup", tmp_path / "backup")
    found = Place(test_servers, chosen(bare), tmp_path)
    env = found.env | {"MIS_SUPERUSER_DATABASE_URL": bare.superuser_url}
    answer = await CommandLine({**env, lacking: ""})("restore", tmp_path / "backup")
    assert answer.exit_code == CANNOT_START
    assert lacking in answer.stderr
    assert bare.query("select count(*) from pg_roles where rolname like 'mis%'") == "0"
    assert bare.query("select count(*) from pg_database") == "3"


async def test_what_the_server_is_sent_is_no_password_and_lets_it_in(
    test_servers: TestServers,
) -> None:
    word, server = secrets.token_urlsafe(12), test_servers.postgres
    sent = verifier(word)
    assert word not in sent
    role = f"verified_{test_servers.worker}"
    server.query(f"create role {role} login password '{sent}'")
    try:
        connection = await asyncpg.connect(server.url(role, word, "postgres", tcp=True))
        assert await connection.fetchval("select current_user") == role
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url(role, word + "x", "postgres", tcp=True))
    finally:
        server.query(f"drop role {role}")
    assert json.dumps(sent).count("$") == 2
