"""Creating tenants: the suite's route, beside the same rows inserted one statement after another.

The peer has no tokens, limits, judgement or idempotency, and knows its rows in advance: it is what the
database's round trips cost that way, not a service anybody would run.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from uuid import UUID

from fastapi import Request, Response
from starlette.types import ASGIApp

from benchmarks.candidates import over_driver_pool
from benchmarks.load import Call
from benchmarks.world import World, signed_token
from mis_http.service.settings import ServiceSettings
from mis_tenancy.identifiers import new_id
from mis_tenancy.tokens.signing import load_signing_key
from tenant_service.app import create_app

PATH: Final = "/api/v1/tenants"
SUITE: Final = "suite, POST /api/v1/tenants"
ONE_BY_ONE: Final = "FastAPI + asyncpg, row by row"

_TENANT: Final = (
    "insert into tenants (id, name, slug, subdomain, plan, status, status_since, max_users, max_storage, "
    "created_at, updated_at) values ($1, $2, $3, $3, 'basic', 'active', $4, 100, 10, $4, $4)"
)
_USER: Final = (
    "insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, "
    "updated_at) values ($1, $2, $3, $3, 'Olivia Owner', 'owner', 'invited', '{}', $4, $4)"
)
_AUDIT: Final = (
    "insert into audit_logs (tenant_id, id, kind, actor, actor_kind, action, resource, outcome, changes) "
    "values ($1, $2, 'change', $3, 'operator', 'tenant.created', 'tenants', 'success', '{}')"
)
_PLATFORM_AUDIT: Final = (
    "insert into platform_audit_logs (id, kind, actor, action, resource, tenant_id, outcome, changes) "
    "values ($1, 'change', $2, 'tenant.created', 'tenants', $3, 'success', '{}')"
)
_DATA_KEY: Final = (
    "insert into tenant_data_keys (tenant_id, version, wrapped_key, master_key_id, created_at) "
    "values ($1, 1, $2, 'k1', $3)"
)


def row_by_row(settings: ServiceSettings) -> ASGIApp:
    """Return a route that inserts what a new tenant has, a statement for each row, in one transaction."""
    app, pool = over_driver_pool(settings)

    @app.post(PATH)
    async def create(request: Request) -> Response:
        body = await request.json()
        tenant_id = new_id()
        async with pool[0].acquire() as connection, connection.transaction():
            await connection.execute(f"set local app.tenant_id = '{tenant_id}'")
            for sql, arguments in _rows(tenant_id, body["slug"], body["owner"]["email"]):
                await connection.execute(sql, *arguments)
        return Response(f'{{"slug":"{body["slug"]}"}}', status_code=201, media_type="application/json")

    return app


def _rows(tenant_id: UUID, slug: str, email: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    now, user_id, actor = datetime.now(UTC), new_id(), new_id()
    yield "insert into tenant_names (name, tenant_id) values ($1, $2)", (slug, tenant_id)
    yield _TENANT, (tenant_id, "Benchmark", slug, now)
    yield "insert into tenant_profiles (tenant_id, settings) values ($1, '{}')", (tenant_id,)
    yield "insert into tenant_counters (tenant_id, users) values ($1, 1)", (tenant_id,)
    yield _DATA_KEY, (tenant_id, os.urandom(60), now)
    yield _USER, (tenant_id, user_id, email, now)
    for term in (email, "olivia", "owner"):
        yield (
            "insert into user_terms (tenant_id, term, user_id) values ($1, $2, $3)",
            (tenant_id, term, user_id),
        )
    yield _AUDIT, (tenant_id, new_id(), actor)
    yield _PLATFORM_AUDIT, (new_id(), actor, tenant_id)
    yield (
        "insert into revocations (id, kind, tenant_id, subject) values ($1, 'tenant', $2, $2)",
        (new_id(), tenant_id),
    )


CREATING: Final[dict[str, Callable[[ServiceSettings], ASGIApp]]] = {ONE_BY_ONE: row_by_row, SUITE: create_app}


def creations(given: World) -> Iterator[Call]:
    """Return creations of tenants that are not there yet, with an operator's token signed now."""
    private_key, mark = load_signing_key(given.key.private_pem), secrets.token_hex(4)
    token = signed_token(given.key.kid, private_key, role="operator", scope="")
    return (_creation(token, f"b-{mark}-{number}") for number in count())


def _creation(token: str, slug: str) -> Call:
    owner = f'{{"email":"owner@{slug}.example","name":"Olivia Owner"}}'
    body = f'{{"name":"Benchmark","slug":"{slug}","owner":{owner}}}'
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Connection: keep-alive\r\n\r\n{body}"
    )
    return Call(request.encode(), f'"slug":"{slug}"'.encode(), 1, status=201)
