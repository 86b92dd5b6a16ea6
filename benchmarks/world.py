"""What the candidates share: a database with many tenants, and a token for each of them."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final
from uuid import UUID

from benchmarks.ground import ISSUER, Ground
from benchmarks.load import Call
from mis_tenancy.access import ROLE_PERMISSIONS, scope_of
from mis_tenancy.identifiers import new_id
from mis_tenancy.tenant import Role
from mis_tenancy.tokens.signing import SigningKey, load_signing_key, new_signing_key, sign_access_token

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
    """The candidates' settings, the tenants by id, and the key their tokens are signed with."""

    settings: Mapping[str, Any]
    tenants: Mapping[str, str]
    key: SigningKey

    def calls(self) -> Iterator[Call]:
        """Return one call per tenant, round and round, with tokens signed now: they live 15 minutes."""
        return cycle([self._call(one, slug) for one, slug in self.tenants.items()])

    def calls_of(self, wanted: str) -> Iterator[Call]:
        """Return the same call of the tenant with that slug again and again."""
        return cycle([self._call(one, slug) for one, slug in self.tenants.items() if slug == wanted])

    def _call(self, tenant_id: str, slug: str) -> Call:
        token = signed_token(
            self.key.kid,
            load_signing_key(self.key.private_pem),
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


def world(given: Ground, tenants: int) -> World:
    """Fill the ground with `tenants` tenants of a hundred users, and return that."""
    key = new_signing_key()
    # The peers without tenancy read this database through a policy that lets them see everything.
    given.ask(_FILL, tenants=tenants, users=USERS_EACH, kid=key.kid, jwk=json.dumps(key.public_jwk))
    pairs = [line.split() for line in given.lines("select id::text || ' ' || slug from tenants")]
    return World(given.settings, dict(pairs), key)


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
