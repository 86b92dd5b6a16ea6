"""Setting a tenant's look, and what strangers see of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from mis_http.colors import Colors
from mis_http.looks import LOGOS, Logo, Look, logo_url, look_of, look_shown
from mis_jobs.jobs import enqueue
from mis_jobs.outbox import EventType, publish
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession
from mis_tenancy.storage import ObjectNotFound, Storage
from mis_tenancy.tenant import Tenant
from mis_tenancy.turns import lock_tenant
from tenant_service.branding import repository
from tenant_service.branding.errors import LogoNotFound, LogoRefused, TooManyLogos
from tenant_service.branding.jobs import CLEANUP_AFTER, LOGO_CLEANUP
from tenant_service.branding.logos import LogoUnfit, Picture, parse_picture
from tenant_service.trail import Caller

_MOST_STORED: Final = 20


@dataclass(frozen=True, slots=True)
class WantedLook:
    """What a tenant wants to look like; `logo` is a picture as a `data:` URL, or the URL it was read as."""

    name: str | None
    colors: Colors
    logo: str | None


class Branding:
    """Sets and shows the look of `tenant`, whose session this is."""

    def __init__(self, session: TenantSession, tenant: Tenant, storage: Storage, caller: Caller) -> None:
        self._session = session
        self._tenant = tenant
        self._storage = storage.of(tenant.id)
        self._caller = caller

    async def read(self) -> Look:
        """Return the look that the tenant has set."""
        return await look_of(self._session)

    async def put(self, wanted: WantedLook, hold: Callable[[int], None]) -> Look:
        """Set the tenant's look as a whole and return it; `hold` raises where another one was expected.

        Raise LogoRefused for what is no logo, TooManyLogos after many of them. The picture is stored before
        the transaction that names it, so a look never names one that is not there.
        """
        uploaded = await self._upload(wanted.logo)
        try:
            return await self._set(wanted, uploaded, hold)
        except BaseException:
            if uploaded is not None:
                await asyncio.shield(self._storage.delete(uploaded.key))
            raise

    async def _set(self, wanted: WantedLook, uploaded: Logo | None, hold: Callable[[int], None]) -> Look:
        row = await lock_tenant(self._session)
        before = await look_of(self._session)
        hold(before.version)
        logo = uploaded
        if wanted.logo is not None and uploaded is None:
            logo = self._kept(wanted.logo, before)
        look = Look(wanted.name, dict(wanted.colors), logo, before.version + 1)
        if replace(look, version=before.version) == before:
            return before
        await repository.put(self._session, look, datetime.now(UTC))
        await self._leave_trail(before, look, resource=f"tenants/{row.id}/branding")
        return look

    async def _upload(self, wanted: str | None) -> Logo | None:
        if wanted is None or not wanted.startswith("data:"):
            return None
        picture = _picture(wanted)
        # Logos count towards no limit, so they must not become a way around it.
        if len([stored async for stored in self._storage.list(LOGOS)]) >= _MOST_STORED:
            raise TooManyLogos
        logo = Logo(new_id(), picture.content_type, len(picture.data))
        await self._storage.put(logo.key, picture.data)
        return logo

    def _kept(self, wanted: str, before: Look) -> Logo | None:
        if wanted != logo_url(self._tenant.slug, before.logo):
            raise LogoRefused("logo")
        return before.logo

    async def _leave_trail(self, before: Look, look: Look, *, resource: str) -> None:
        session, tenant_id = self._session, self._tenant.id
        if before.logo != look.logo:
            due = datetime.now(UTC) + CLEANUP_AFTER
            await enqueue(session, LOGO_CLEANUP, {}, tenant_id=tenant_id, run_at=due)
        self._caller.record(session, "branding.changed", resource=resource, changes=_changes(before, look))
        publish(session, EventType.TENANT_UPDATED, {"changed": ["branding"]})


async def shown_logo(database: Database, tenant: Tenant, storage: Storage) -> tuple[Logo, bytes]:
    """Return the logo that strangers see; raise LogoNotFound."""
    logo = (await look_shown(database, tenant)).logo
    if logo is None:
        raise LogoNotFound
    try:
        return logo, await storage.of(tenant.id).get(logo.key)
    except ObjectNotFound as error:
        raise LogoNotFound from error


def _picture(text: str) -> Picture:
    try:
        return parse_picture(text)
    except LogoUnfit as error:
        raise LogoRefused("logo", f"The logo {error}.") from error


def _changes(before: Look, look: Look) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if before.name != look.name:
        changes["name"] = {}
    if before.colors != look.colors:
        changes["colors"] = {"old": dict(before.colors), "new": dict(look.colors)}
    if before.logo != look.logo:
        changes["logo"] = {"old": _named(before.logo), "new": _named(look.logo)}
    return changes


def _named(logo: Logo | None) -> str | None:
    return None if logo is None else str(logo.id)
