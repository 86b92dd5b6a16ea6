"""The rules of API keys: nobody gives one more than they may do themselves, and no key makes another."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from auth_service.api_keys import repository
from auth_service.errors import ApiKeyNotFound
from mis_accounts.claims import LimitExceeded, hold_counters
from mis_http.pages import Page
from mis_models.api_keys import API_KEY_CREATED, ApiKeyRow
from mis_tenancy.access import Permission, require_permission
from mis_tenancy.errors import PermissionDenied, ValidationFailed
from mis_tenancy.request_changes import record
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Principal, PrincipalKind, Tenant
from mis_tenancy.tokens.api_key_texts import new_api_key

MOST_KEYS: Final = 100
_TOO_MANY: Final = (
    f"A tenant has at most {MOST_KEYS} API keys that work. Revoke one that is not used any more."
)


class TenantApiKeys:
    """The API keys of one tenant, as the caller `principal` may make and revoke them."""

    def __init__(
        self, session: TenantSession, tenant: Tenant, principal: Principal, admitted: Admission
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._principal = principal
        self._admitted = admitted

    async def create(
        self, name: str, scopes: frozenset[Permission], expires_at: datetime | None
    ) -> tuple[ApiKeyRow, str]:
        """Make a key of the caller's and return it with its text, which is not kept.

        Raise PermissionDenied for a scope that the caller lacks and for a program, LimitExceeded where the
        tenant has its hundred, ValidationFailed for a time that has passed.
        """
        self._require_person()
        for scope in sorted(scopes):
            require_permission(self._principal, scope)
        await self._require_room()
        now = datetime.now(UTC)
        if expires_at is not None and expires_at <= now:
            unfit = {"field": "expiresAt", "code": "in_the_past", "message": "must lie in the future"}
            raise ValidationFailed([unfit])
        key = new_api_key(self._tenant.id)
        row = ApiKeyRow(
            id=key.id,
            name=name,
            prefix=key.prefix,
            key_hash=key.digest,
            scopes=sorted(scopes),
            created_by=self._principal.id,
            created_at=now,
            expires_at=expires_at,
        )
        await repository.add(self._session, row)
        told = {"name": name, "scopes": row.scopes, "expiresAt": expires_at}
        self._record(API_KEY_CREATED, row, {field: {"old": None, "new": new} for field, new in told.items()})
        return row, key.text

    async def page(self, page: Page) -> Sequence[ApiKeyRow]:
        """Return a page of those that are not revoked, one more than it holds where there is more."""
        return await repository.page_of(self._session, page)

    async def revoke(self, key_id: UUID) -> None:
        """End a key, whoever made it: closing a door is refused to nobody who may open one."""
        row = await repository.revoke(self._session, key_id, datetime.now(UTC))
        if row is None:
            raise ApiKeyNotFound
        revoke(self._session, Kind.KEY, row.id, tenant_id=self._tenant.id)
        self._record("api_key.revoked", row)

    def _require_person(self) -> None:
        # Whoever holds a key could otherwise outlast its revocation.
        if self._principal.kind is not PrincipalKind.MEMBER:
            raise PermissionDenied("An API key cannot make API keys; sign in instead.", required="person")

    async def _require_room(self) -> None:
        # Keys that are made at the same time take turns, so that the count holds.
        await hold_counters(self._session)
        used = await repository.live_ones(self._session)
        if used >= MOST_KEYS:
            raise LimitExceeded(_TOO_MANY, resource="apiKeys", limit=MOST_KEYS, used=used, requested=1)

    def _record(self, action: str, row: ApiKeyRow, changes: Mapping[str, Any] | None = None) -> None:
        record(self._session, self._admitted, action, resource=f"api_key:{row.id}", changes=changes)
