"""Takes a person out of the answers that are kept for repeated requests, which are under the tenant's key."""

from typing import Final
from uuid import UUID

from mis_http.kept_answers import KeyOfRequest, TenantAnswers
from mis_models.tenants import IdempotencyRow
from mis_tenancy.encryption import TenantKeys, Undecryptable
from mis_tenancy.session import TenantSession
from user_service.erasure import repository

# Requests whose answers show people, and whose path does not say whom.
_PATHS: Final = ("/api/v1/users", "/api/v1/auth/invitations")


async def drop_answers(
    session: TenantSession, keys: TenantKeys, user_id: UUID, addresses: frozenset[bytes]
) -> int:
    """Delete the answers kept for the user, about them or naming any of the addresses; return how many."""
    store, count = TenantAnswers(keys), await repository.drop_own_answers(session, user_id)
    named = {str(user_id).encode(), *addresses}
    for row in await repository.kept_answers(session, _PATHS):
        body = await _body(store, session, row)
        if any(name in body.lower() for name in named):
            await session.delete(row)
            count += 1
    return count


async def _body(store: TenantAnswers, session: TenantSession, row: IdempotencyRow) -> bytes:
    request = KeyOfRequest(row.principal_id, row.method, row.path, row.key, row.fingerprint)
    try:
        return (await store.kept(session, request, row)).body
    except Undecryptable:
        return b""
