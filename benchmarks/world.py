"""What the candidates share: embedded servers, a database with many tenants, and a token for each of them."""

import base64
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from benchmarks.load import Call
from mis_cli.embedded import EmbeddedPostgres, EmbeddedRedis, PostgresAddress, prepare_database
from mis_cli.migrations import ROLES_FILE, upgrade
from mis_tenancy.access import ROLE_PERMISSIONS, scope_of
from mis_tenancy.identifiers import new_id
from mis_tenancy.signing import SigningKey, load_signing_key, new_signing_key, sign_access_token
from mis_tenancy.tenant import Role

ISSUER: Final = "http://127.0.0.1:8000"
USERS_EACH: Final = 100
ROWS: Final = 20

_FILL: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at) select
gen_random_uuid(), 'Tenant ' || n, 'tenant-' || n, 'tenant-' || n, 'custom', 'active', now(), now(), now()
  from generate_series(1, {tenants}) n;
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
select t.id, gen_random_uuid(), 'user' || n || '@' || t.slug || '.example',
       'user' || n || '@' || t.slug || '.example', 'Person Number ' || n, 'member', 'active',
       '{{"team": "north"}}', now(), now()
  from tenants t, generate_series(1, {users}) n;
insert into public_signing_keys (kid, jwk, state, created_at) values ('{kid}', '{jwk}', 'current', now());
grant select (email, name, attributes, updated_at, last_login_at) on users to mis_platform;
create policy benchmark on users to mis_platform using (true);
vacuum analyze;
"""


@dataclass(frozen=True, slots=True)
class World:
    """The candidates' settings as JSON, the tenants by id, and the key their tokens are signed with."""

    settings: str
    tenants: Mapping[str, str]
    key: SigningKey

    def calls(self) -> Iterator[Call]:
        """Return one call per tenant, round and round, with tokens signed now: they live 15 minutes."""
        private_key = load_signing_key(self.key.private_pem)
        return cycle([_call(one, slug, self.key.kid, private_key) for one, slug in self.tenants.items()])


@contextmanager
def world(directory: Path, tenants: int) -> Iterator[World]:
    """Yield a world with `tenants` tenants of a hundred users; it ends with the block."""
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(directory / "postgres", durable=False))
        redis = stack.enter_context(EmbeddedRedis(directory / "redis", durable=False))
        urls = prepare_database(postgres.address, ROLES_FILE)
        upgrade(urls.owner)
        key = new_signing_key()
        _fill(postgres.address, tenants, key.kid, key.public_jwk)
        settings = {
            "database_url": urls.app,
            "platform_database_url": urls.platform,
            "redis_url": redis.url,
            "storage_url": directory.as_uri(),
            "public_url": ISSUER,
            "master_keys": f"k1:{base64.b64encode(os.urandom(32)).decode()}",
            "spool_dir": str(directory / "spool"),
        }
        found = postgres.address.query("select id::text || ' ' || slug from tenants", database="mis_db")
        pairs = [line.split() for line in _lines(found)]
        yield World(json.dumps(settings), dict(pairs), key)


def _fill(postgres: PostgresAddress, tenants: int, kid: str, jwk: dict[str, Any]) -> None:
    # The peers without tenancy read this database through a policy that lets them see everything.
    sql = _FILL.format(tenants=tenants, users=USERS_EACH, kid=kid, jwk=json.dumps(jwk))
    for statement in filter(str.strip, sql.split(";\n")):
        postgres.query(statement, database="mis_db")


def _lines(found: Any) -> list[str]:
    return [line for line in str(found).splitlines() if line.strip()]


def signed_token(kid: str, private_key: Any, **claims: str) -> str:
    """Return an access token that is good from now on, of a caller that nobody has met."""
    now = int(time.time())
    own = {
        "iss": ISSUER,
        "aud": "mis",
        "sub": str(new_id()),
        "exp": now + 900,
        "iat": now,
        "jti": secrets.token_hex(16),
        "sid": str(new_id()),
        "ver": [0, 0],
    }
    return sign_access_token(private_key, kid, own | claims)


def _call(tenant_id: str, slug: str, kid: str, private_key: Any) -> Call:
    token = signed_token(
        kid,
        private_key,
        tenantId=str(UUID(tenant_id)),
        tenantSlug=slug,
        role=Role.ADMIN.value,
        scope=scope_of(ROLE_PERMISSIONS[Role.ADMIN]),
    )
    request = (
        f"GET /api/v1/users?limit={ROWS} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-ID: {tenant_id}\r\n"
        f"Authorization: Bearer {token}\r\nConnection: keep-alive\r\n\r\n"
    )
    return Call(request.encode(), f"@{slug}.example".encode(), ROWS)
