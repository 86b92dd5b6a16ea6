"""Imports in tests: archives made by hand or by an export, sent, and carried out as the worker does it."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import httpx

from mis_jobs.jobs import Job
from mis_tenancy.identifiers import new_id
from tenant_service.imports.jobs import RUN, ImportJobs
from tenant_service.imports.running import ImportRuns
from tests.answers import fine
from tests.suite import Suite, TenantHandle
from tests.tenant_service.exports import fetch, finished
from tests.tenant_service.requests import TENANTS

Headers = dict[str, str]
Rows = list[dict[str, Any]]


def user_row(email: str, **fields: Any) -> dict[str, Any]:
    """Return a user as an archive has it."""
    return {
        "id": str(uuid4()),
        "email": email,
        "name": "Ina Import",
        "role": "viewer",
        "status": "active",
        "attributes": {},
        "createdAt": "2026-01-02T03:04:05Z",
        "updatedAt": "2026-01-02T03:04:05Z",
        "lastLoginAt": None,
    } | fields


def setting_row(key: str, value: Any, **fields: Any) -> dict[str, Any]:
    """Return a configuration key as an archive has it."""
    return {
        "configKey": key,
        "version": 1,
        "configValue": value,
        "isEncrypted": False,
        "fingerprint": None,
        "createdAt": "2026-01-02T03:04:05Z",
        "updatedAt": "2026-01-02T03:04:05Z",
    } | fields


def content_of(rows: Rows, written_in: str) -> bytes:
    """Return rows as a file."""
    if written_in == "json":
        return json.dumps(rows, indent=2).encode()
    if written_in == "csv":
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]) if rows else ["id"])
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def manifest_for(
    tenant: TenantHandle, files: Mapping[str, bytes], counts: Mapping[str, int], written_in: str = "ndjson"
) -> dict[str, Any]:
    """Return a true manifest."""
    return {
        "schemaVersion": 1,
        "exportId": str(uuid4()),
        "tenant": {"id": str(tenant.id), "slug": tenant.slug, "name": "T", "plan": "custom"},
        "createdAt": datetime.now(UTC).isoformat(),
        "format": written_in,
        "counts": dict(counts),
        "files": [
            {
                "path": path,
                "dataType": path.partition(".")[0],
                "count": counts[path.partition(".")[0]],
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for path, content in files.items()
        ],
    }


def archive_of(
    tenant: TenantHandle,
    *,
    users: Rows | None = None,
    configurations: Rows | None = None,
    media: Rows | None = None,
    written_in: str = "ndjson",
    change: Callable[[dict[str, Any]], None] | None = None,
    more: Mapping[str | ZipInfo, bytes] | None = None,
) -> bytes:
    """Return an archive of `tenant` as if an export had written it; `change` lies in its manifest."""
    given = {"users": users, "configurations": configurations, "media": media}
    present = {name: rows for name, rows in given.items() if rows is not None}
    files = {f"{name}.{written_in}": content_of(rows, written_in) for name, rows in present.items()}
    manifest = manifest_for(tenant, files, {name: len(rows) for name, rows in present.items()}, written_in)
    if change is not None:
        change(manifest)
    described = {"manifest.json": json.dumps(manifest).encode()}
    entries: dict[str | ZipInfo, bytes] = {}
    for part in (files, described, more or {}):
        entries.update(part.items())
    return zipped(entries)


def zipped(entries: Mapping[str | ZipInfo, bytes]) -> bytes:
    """Return a zip file with those entries."""
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content, ZIP_DEFLATED)
    return file.getvalue()


async def send(
    suite: Suite,
    tenant: TenantHandle,
    archive: bytes,
    *,
    dry_run: bool = False,
    headers: Headers | None = None,
    multipart: bool = False,
) -> httpx.Response:
    """Send an archive to be imported into `tenant`."""
    path = f"{TENANTS}/{tenant.id}/import"
    params = {"dryRun": "true"} if dry_run else {}
    auth = headers or tenant.auth
    if multipart:
        files = {"file": ("export.zip", archive, "application/zip")}
        return await suite.client.post(path, params=params, headers=auth, files=files)
    return await suite.client.post(
        path, params=params, headers=auth | {"Content-Type": "application/zip"}, content=archive
    )


def runs_of(suite: Suite) -> ImportRuns:
    """Return what the worker carries imports out with."""
    state = suite.apps["tenant"].state
    return ImportRuns(state.tenancy.database, state.storage)


def import_jobs_of(suite: Suite) -> ImportJobs:
    """Return the handlers of the worker."""
    return ImportJobs(suite.apps["tenant"].state.platform, runs_of(suite))


def import_job_for(tenant: TenantHandle, import_id: str, attempt: int = 1) -> Job:
    """Return the job as the worker claims it."""
    return Job(new_id(), tenant.id, RUN, {"importId": import_id}, attempt)


async def import_status(suite: Suite, tenant: TenantHandle, import_id: str) -> dict[str, Any]:
    """Return the import as the API shows it."""
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/imports/{import_id}", headers=tenant.auth)
    document: dict[str, Any] = fine(answer)
    return document


async def imported(
    suite: Suite, tenant: TenantHandle, archive: bytes, headers: Headers | None = None
) -> dict[str, Any]:
    """Return an import that has been asked for and carried out."""
    started = fine(await send(suite, tenant, archive, headers=headers), 202)
    await import_jobs_of(suite).run(import_job_for(tenant, started["importId"]))
    return await import_status(suite, tenant, started["importId"])


async def exported(suite: Suite, tenant: TenantHandle, *types: str, written_in: str = "ndjson") -> bytes:
    """Return the archive of an export of `tenant`."""
    done = await finished(suite, tenant, *types, written_in=written_in)
    answer = await fetch(suite, done["downloadUrl"])
    assert answer.status_code == 200, answer.text
    return answer.content


async def users_of(suite: Suite, tenant: TenantHandle) -> dict[str, dict[str, Any]]:
    """Return the tenant's users by their address."""
    answer = await suite.client.get("/api/v1/users", params={"limit": 200}, headers=tenant.auth)
    return {user["email"]: user for user in fine(answer)}
