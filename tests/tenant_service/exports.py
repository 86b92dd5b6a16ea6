"""Exports in tests: asked for through the API, run as the worker runs them, and opened again."""

import csv
import io
import json
from typing import Any
from uuid import UUID
from zipfile import ZipFile

import httpx

from mis_jobs.jobs import Job
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from tenant_service.exports.jobs import RUN, ExportJobs
from tenant_service.exports.running import Exporter
from tests.answers import fine
from tests.suite import Suite, TenantHandle, fresh_address
from tests.tenant_service.requests import TENANTS

EVERYTHING = ["users", "media", "audit_logs", "configurations", "usage", "invoices"]

Headers = dict[str, str]


def exports_path(tenant: TenantHandle, export_id: str = "") -> str:
    return f"{TENANTS}/{tenant.id}/exports" + (f"/{export_id}" if export_id else "")


async def ask_for(
    suite: Suite,
    tenant: TenantHandle,
    *types: str,
    written_in: str = "ndjson",
    headers: Headers | None = None,
) -> httpx.Response:
    """Ask for an export of `types`, everything where none is named."""
    body = {"dataTypes": list(types or EVERYTHING), "format": written_in}
    return await suite.client.post(f"{TENANTS}/{tenant.id}/export", json=body, headers=headers or tenant.auth)


def exporter_of(suite: Suite) -> Exporter:
    """Return what the worker runs exports with."""
    state = suite.apps["tenant"].state
    database: Database = state.tenancy.database
    return Exporter(database, database, state.storage)


def jobs_of(suite: Suite) -> ExportJobs:
    """Return the handlers of the worker."""
    return ExportJobs(suite.apps["tenant"].state.platform, exporter_of(suite))


def job_for(tenant: TenantHandle, export_id: str, attempt: int = 1, kind: str = RUN) -> Job:
    """Return the job as the worker claims it."""
    return Job(new_id(), tenant.id, kind, {"exportId": export_id}, attempt)


async def status_of(
    suite: Suite, tenant: TenantHandle, export_id: str, headers: Headers | None = None
) -> dict[str, Any]:
    """Return the export as the API shows it."""
    answer = await suite.client.get(exports_path(tenant, export_id), headers=headers or tenant.auth)
    document: dict[str, Any] = fine(answer)
    return document


async def finished(
    suite: Suite, tenant: TenantHandle, *types: str, written_in: str = "ndjson"
) -> dict[str, Any]:
    """Return an export that has been asked for and run."""
    asked = fine(await ask_for(suite, tenant, *types, written_in=written_in), 202)
    await jobs_of(suite).run(job_for(tenant, asked["exportId"]))
    return await status_of(suite, tenant, asked["exportId"])


async def fetch(suite: Suite, url: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Follow a link, as somebody who has nothing but the link."""
    async with suite.client_at(fresh_address()) as client:
        return await client.request(method, url, headers=headers)


async def opened(suite: Suite, export: dict[str, Any]) -> ZipFile:
    """Return the archive of a finished export."""
    answer = await fetch(suite, export["downloadUrl"])
    assert answer.status_code == 200, answer.text
    return ZipFile(io.BytesIO(answer.content))


def manifest_of(archive: ZipFile) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(archive.read("manifest.json"))
    return document


def rows_of(archive: ZipFile, name: str, written_in: str = "ndjson") -> list[dict[str, Any]]:
    """Return the rows of one file; the cells of CSV as they stand there."""
    text = archive.read(f"{name}.{written_in}").decode()
    if written_in == "json":
        rows: list[dict[str, Any]] = json.loads(text)
        return rows
    if written_in == "csv":
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    return [json.loads(line) for line in text.splitlines()]


async def files_of(suite: Suite, tenant_id: UUID, prefix: str = "exports") -> list[str]:
    """Return the keys of the tenant's objects below `prefix`."""
    storage = suite.apps["tenant"].state.storage.of(tenant_id)
    return [stored.key async for stored in storage.list(prefix)]
