"""Invitations and other links as their receivers get them."""

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select

from mis_mail.mail import Mail
from mis_mail.queue import MAIL, MailQueue
from mis_models.accounts import CountersRow
from mis_models.work import JobRow
from tests.auth_service.requests import AUTH, fine
from tests.suite import PASSWORD, Suite, TenantHandle


async def invite(suite: Suite, tenant: TenantHandle, role: str = "viewer", email: str | None = None) -> Any:
    """Invite an address, one of its own unless given, as the owner, and return the invitation."""
    body = {"email": email or f"i-{uuid4().hex[:10]}@{tenant.slug}.example", "role": role}
    return fine(await suite.client.post(f"{AUTH}/invitations", json=body, headers=tenant.auth), 201)


async def accept(suite: Suite, token: str, **options: Any) -> httpx.Response:
    """Try to accept an invitation, from an address of its own."""
    body = {"token": token, "name": "Ina Invited", "password": options.pop("password", PASSWORD)}
    return await suite.post_anonymously(f"{AUTH}/invitations/accept", body, **options)


def token_of(link: str) -> str:
    """Return the token in a link."""
    return parse_qs(urlsplit(link).query)["token"][0]


async def seats(suite: Suite, tenant_id: UUID) -> tuple[int, int]:
    """Return how many users the tenant has, and for how many invited people it keeps a seat."""
    async with suite.database.transaction(tenant_id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
        return counters.users, counters.pending_invitations


async def mails_of(suite: Suite, tenant: TenantHandle) -> list[Mail]:
    """Return the tenant's queued mails, oldest first."""
    queue = MailQueue(suite.tenancy().wrapping)
    async with suite.database.transaction(tenant.id) as session:
        jobs = await session.scalars(select(JobRow).where(JobRow.kind == MAIL).order_by(JobRow.id))
        return [queue.opened(job.payload, tenant_id=tenant.id) for job in jobs]
