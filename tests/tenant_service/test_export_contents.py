"""What is in an archive: each of the tenant's rows once, as SQL finds them, and no other's and no secret."""

import asyncio
import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_http.schemas import moment_text
from mis_http.spreadsheets import neutral, restored
from mis_models.accounts import UserRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.rows import erase_actor
from mis_tenancy.tables import Base
from mis_tenancy.usage_tables import UsageDayRow, UsageRouteDayRow
from tenant_service.exports.data_types.registry import DATA_TYPES
from tests.answers import fine
from tests.database import connected, insert, row_for
from tests.servers import TestServers
from tests.suite import PASSWORD, Suite, TenantHandle
from tests.tenant_service.exports import (
    EVERYTHING,
    ask_for,
    exporter_of,
    finished,
    manifest_of,
    opened,
    rows_of,
    status_of,
)
from tests.tenant_service.requests import TENANTS
from tests.user_service.media import stored

FORMATS = ("json", "ndjson", "csv")
HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\tx",
    "\rx",
    "'=1",
    "''+1",
    'a"b',
    "a,b",
    "a\r\nb",
    "a\nb",
    "'plain",
    "ü€😀",
]
SECRET = "hunter2-canary"


async def people(owner: asyncpg.Connection, tenant: TenantHandle, count: int, names: list[str]) -> None:
    """Give the tenant users of many kinds, as the owner of the tables."""
    table = Base.metadata.tables["users"]
    for number in range(count):
        row = row_for(table, tenant.id, {}, new_id().hex)
        row |= {
            "name": names[number % len(names)],
            "role": "viewer",
            "status": "active",
            "password_hash": SECRET,
        }
        row["attributes"] = json.dumps({"n": number, "text": names[number % len(names)]})
        await insert(owner, table, row)


@pytest.fixture(scope="module")
async def filled(suite: Suite, test_servers: TestServers) -> tuple[TenantHandle, TenantHandle]:
    """Two tenants with something of everything; only the first is exported."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    async with connected(test_servers.database().owner) as owner:
        for one in (tenant, other):
            await people(owner, one, 60, HOSTILE)
            usage = ("usage_days", "usage_hours", "usage_route_days", "usage_user_days", "usage_levels")
            for name in (*usage, "invoices"):
                table = Base.metadata.tables[name]
                await insert(owner, table, row_for(table, one.id, {}, new_id().hex))
            for key, value, secret in (
                ("mail.password", SECRET, True),
                ("app.flags", {"b": [1, None, "=x"]}, False),
                ("app.null", None, False),
                ("app.fingerprint", {"fingerprint": "none"}, False),
            ):
                body = {"configKey": key, "configValue": value, "isEncrypted": secret}
                fine(await suite.client.post(f"{TENANTS}/{one.id}/config", json=body, headers=one.auth))
            await stored(suite, one)
    return tenant, other


async def sql_rows(servers: TestServers, sql: str, tenant_id: UUID) -> list[dict[str, Any]]:
    async with connected(servers.database().owner) as owner:
        return [dict(row) for row in await owner.fetch(sql, tenant_id)]


@pytest.mark.parametrize("written_in", FORMATS)
async def test_an_archive_holds_what_its_manifest_says(
    suite: Suite, filled: tuple[TenantHandle, TenantHandle], written_in: str
) -> None:
    """Catalogue 117."""
    tenant, _ = filled
    archive = await opened(suite, await finished(suite, tenant, written_in=written_in))
    assert archive.testzip() is None
    manifest = manifest_of(archive)
    assert manifest["schemaVersion"] == 1
    assert manifest["tenant"] == {
        "id": str(tenant.id),
        "slug": tenant.slug,
        "name": tenant.document["name"],
        "plan": "custom",
    }
    names = [info.filename for info in archive.infolist() if not info.filename.startswith("media/")]
    assert names == [*(one["path"] for one in manifest["files"]), "manifest.json"]
    assert sorted(names[:-1]) == sorted(
        f"{extract.name}.{written_in}" for one in DATA_TYPES.values() for extract in one.extracts
    )
    for file in manifest["files"]:
        content = archive.read(file["path"])
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])
        assert len(rows_of(archive, file["path"].partition(".")[0], written_in)) == file["count"]
    counts = {file["path"].partition(".")[0]: file["count"] for file in manifest["files"]}
    assert manifest["counts"] == {name: counts.get(name, 0) for name in EVERYTHING}
    assert manifest["counts"]["users"] == 61


@pytest.mark.parametrize("written_in", FORMATS)
async def test_the_users_in_an_archive_are_those_that_sql_finds(
    suite: Suite,
    test_servers: TestServers,
    filled: tuple[TenantHandle, TenantHandle],
    written_in: str,
) -> None:
    """Catalogue 116, 117."""
    tenant, _ = filled
    archive = await opened(suite, await finished(suite, tenant, "users", written_in=written_in))
    found = await sql_rows(
        test_servers,
        "select id, email, name, role, status, attributes, created_at, updated_at, last_login_at from users "
        "where tenant_id = $1 order by id",
        tenant.id,
    )
    expected = [
        {
            "id": str(row["id"]),
            "email": row["email"],
            "name": row["name"],
            "role": row["role"],
            "status": row["status"],
            "attributes": json.loads(row["attributes"]),
            "createdAt": moment_text(row["created_at"]),
            "updatedAt": moment_text(row["updated_at"]),
            "lastLoginAt": None if row["last_login_at"] is None else moment_text(row["last_login_at"]),
        }
        for row in found
    ]
    rows = rows_of(archive, "users", written_in)
    if written_in == "csv":
        assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r\x00"))]
        rows = [{name: restored(cell) or None for name, cell in row.items()} for row in rows]
        rows = [row | {"attributes": json.loads(row["attributes"])} for row in rows]
    assert len(rows) == 61
    assert rows == expected


async def test_every_row_of_every_type_is_there_as_sql_counts_them(
    suite: Suite, test_servers: TestServers, filled: tuple[TenantHandle, TenantHandle]
) -> None:
    """Requests are written down while the export runs, so what SQL finds before and after are its bounds.

    Catalogue 117.
    """
    tenant, other = filled
    before = await counted(test_servers, tenant)
    archive = await opened(suite, await finished(suite, tenant))
    after = await counted(test_servers, tenant)
    assert min((await counted(test_servers, other)).values()) > 0
    for data_type in DATA_TYPES.values():
        for extract in data_type.extracts:
            rows = rows_of(archive, extract.name)
            assert before[extract.name] <= len(rows) <= after[extract.name], extract.name
            assert len({json.dumps(row) for row in rows}) == len(rows) > 0
            assert [set(row) for row in rows] == [set(extract.field_names)] * len(rows)


async def test_an_archived_log_says_where_requests_came_from_until_their_actor_is_erased(
    suite: Suite, filled: tuple[TenantHandle, TenantHandle]
) -> None:
    tenant, _ = filled
    member = await suite.user(tenant, "admin")
    settings = {"settings": {"n": 1}}
    fine(await suite.client.patch(f"{TENANTS}/{tenant.id}", json=settings, headers=member.auth))
    query = {"actor": str(member.id), "kind": "change"}
    (listed,) = fine(
        await suite.client.get(f"{TENANTS}/{tenant.id}/audit-logs", params=query, headers=tenant.auth)
    )

    async def archived() -> dict[str, Any]:
        archive = await opened(suite, await finished(suite, tenant, "audit_logs"))
        (row,) = [row for row in rows_of(archive, "audit_logs") if row["id"] == listed["id"]]
        return row

    assert listed["ip"] is not None
    assert await archived() == listed
    async with suite.database.transaction(tenant.id) as session:
        assert await erase_actor(session, member.id)
    assert await archived() == listed | {"ip": None, "userAgent": None}


async def counted(servers: TestServers, tenant: TenantHandle) -> dict[str, int]:
    """Return how many rows of the tenant SQL finds for each file of an archive."""
    found: dict[str, int] = {}
    for data_type in DATA_TYPES.values():
        for extract in data_type.extracts:
            table = extract.table.__table__.name  # type: ignore[attr-defined]  # each is mapped
            sql = f"select count(*) from {table} where tenant_id = $1"  # noqa: S608  # our models' names
            ((found[extract.name],),) = [row.values() for row in await sql_rows(servers, sql, tenant.id)]
    return found


@pytest.mark.parametrize("written_in", FORMATS)
async def test_no_secret_hash_or_row_of_another_tenant_is_in_an_archive(
    suite: Suite,
    test_servers: TestServers,
    filled: tuple[TenantHandle, TenantHandle],
    written_in: str,
) -> None:
    """Catalogue 117, 134."""
    tenant, other = filled
    archive = await opened(suite, await finished(suite, tenant, written_in=written_in))
    everything = b"\n".join(archive.read(name) for name in archive.namelist())
    for canary in (SECRET, PASSWORD, "$argon2", "ciphertext", "password_hash", str(other.id), other.slug):
        assert canary.encode() not in everything, canary
    secrets = [
        row for row in rows_of(archive, "configurations", written_in) if row["configKey"] == "mail.password"
    ]
    (secret,) = secrets
    assert secret["configValue"] in (None, "")
    shown = await suite.client.get(f"{TENANTS}/{tenant.id}/config/mail.password", headers=tenant.auth)
    assert secret["fingerprint"] == fine(shown)["fingerprint"]


async def test_values_that_are_no_secrets_are_exported_as_they_are(
    suite: Suite, filled: tuple[TenantHandle, TenantHandle]
) -> None:
    tenant, _ = filled
    archive = await opened(suite, await finished(suite, tenant, "configurations"))
    rows = {row["configKey"]: row for row in rows_of(archive, "configurations")}
    assert rows["app.flags"]["configValue"] == {"b": [1, None, "=x"]}
    assert (rows["app.null"]["configValue"], rows["app.null"]["isEncrypted"]) == (None, False)
    assert rows["app.fingerprint"]["configValue"] == {"fingerprint": "none"}
    assert rows["app.fingerprint"]["fingerprint"] is None
    assert [row["version"] for row in rows_of(archive, "configuration_versions")] == [1, 1, 1, 1]


async def test_an_archived_invoice_is_the_one_that_the_api_shows(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    listed = fine(await suite.client.get(f"{TENANTS}/{tenant.id}/invoices", headers=tenant.auth))
    archive = await opened(suite, await finished(suite, tenant, "invoices"))
    assert rows_of(archive, "invoices") == listed
    assert listed[0]["number"].startswith("INV-")


async def test_an_export_of_more_than_a_page_misses_and_repeats_no_row(
    suite: Suite, test_servers: TestServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    in_sevens = {
        name: replace(one, extracts=tuple(replace(extract, rows_at_once=7) for extract in one.extracts))
        for name, one in DATA_TYPES.items()
    }
    monkeypatch.setattr("tenant_service.exports.running.DATA_TYPES", in_sevens)
    day = datetime(2026, 1, 1, tzinfo=UTC)
    async with suite.database.transaction(tenant.id) as session:
        session.add_all(
            UserRow(
                id=new_id(),
                email=f"{number}@x.example",
                email_norm=f"{number}@x.example",
                name="N",
                role="viewer",
                status="active",
                attributes={},
                created_at=day,
                updated_at=day,
            )
            for number in range(27)
        )
        # Rows whose key begins alike, so that a page ends between two of one day.
        session.add_all(UsageRouteDayRow(day=day, route=f"GET /{number}") for number in range(35))
        session.add(UsageDayRow(day=day))
    archive = await opened(suite, await finished(suite, tenant, "users", "usage"))
    ids = [row["id"] for row in rows_of(archive, "users")]
    assert (len(ids), ids) == (28, sorted(set(ids)))
    routes = [row["route"] for row in rows_of(archive, "usage_routes") if row["day"].startswith("2026-01")]
    assert sorted(routes) == sorted(f"GET /{number}" for number in range(35))


async def test_an_export_shows_one_moment_however_long_it_takes(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    asked = fine(await ask_for(suite, tenant, "users", "configurations"), 202)["exportId"]
    exporter = exporter_of(suite)
    seen = asyncio.Event()

    async def add_meanwhile(self: object, rows: int) -> None:
        if not seen.is_set():
            seen.set()
            await suite.user(tenant, "viewer")
            body = {"configKey": "app.late", "configValue": 1}
            fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=tenant.auth))

    monkeypatch.setattr("tenant_service.exports.running._Progress.tell", add_meanwhile)
    await exporter.run(tenant.id, UUID(asked))
    assert seen.is_set()
    archive = await opened(suite, await status_of(suite, tenant, asked))
    assert [row["email"] for row in rows_of(archive, "users")] == [tenant.owner_email]
    assert rows_of(archive, "configurations") == []


async def test_the_snapshot_of_an_export_cannot_write(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    with pytest.raises(Exception, match="read-only transaction"):
        async with suite.database.snapshot(tenant.id) as session:
            session.add(UsageDayRow(day=datetime.now(UTC)))
    async with suite.database.transaction(tenant.id) as session:
        session.add(UsageDayRow(day=datetime.now(UTC)))


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\x00ab\n\","), max_size=6) | st.text(max_size=10))
def test_no_cell_is_run_and_each_can_be_restored(text: str) -> None:
    """Catalogue 116."""
    cell = neutral(text)
    assert not cell.startswith(tuple("=+-@\t\r\x00"))
    assert restored(cell) == text
    if not text.lstrip("'").startswith(tuple("=+-@\t\r\x00")):
        assert cell == text
    written = io.StringIO(newline="")
    csv.writer(written).writerow([cell, "end"])
    assert next(csv.reader(io.StringIO(written.getvalue(), newline=""), strict=True)) == [cell, "end"]
