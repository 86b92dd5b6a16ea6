"""Invitations and other links as their receivers get them."""

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select

from auth_service.passwords.jobs import ResetMails
from mis_accounts.reset_asks import RESET_MAIL
from mis_jobs.jobs import Job
from mis_mail.mail import Mail
from mis_mail.queue import MAIL, MailQueue
from mis_models.accounts import CountersRow
from mis_models.work import JobRow
from tests.answers import fine
from tests.auth_service.requests import AUTH, USERS
from tests.suite import PASSWORD, PUBLIC_URL, Suite, TenantHandle, UserHandle


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


async def ask_for_reset(suite: Suite, tenant: TenantHandle, email: str, **options: Any) -> httpx.Response:
    """Ask for a new password, from an address of its own."""
    body = {"email": email, "tenantSlug": tenant.slug}
    return await suite.post_anonymously(f"{AUTH}/password/forgot", body, **options)


async def write_resets(suite: Suite, tenant: TenantHandle, newest: int = 100) -> None:
    """Do what the worker does with the newest requests for a password of the tenant."""
    resets = ResetMails(suite.database, suite.tenancy().wrapping, PUBLIC_URL)
    async with suite.database.transaction(tenant.id) as session:
        asked = select(JobRow).where(JobRow.kind == RESET_MAIL).order_by(JobRow.id.desc()).limit(newest)
        jobs = [Job(row.id, tenant.id, RESET_MAIL, row.payload, 1) for row in await session.scalars(asked)]
    for job in jobs:
        await resets.write(job)


async def reset_link(suite: Suite, tenant: TenantHandle, email: str, **options: Any) -> str:
    """Ask for a new password and return the link that is mailed."""
    fine(await ask_for_reset(suite, tenant, email, **options), 202)
    await write_resets(suite, tenant, newest=1)
    mail = (await mails_of(suite, tenant))[-1]
    return next(word for word in mail.text.split() if word.startswith(PUBLIC_URL))


async def new_address_link(suite: Suite, tenant: TenantHandle, user: UserHandle, email: str) -> str:
    """Ask for another address of the user's own and return the link that is mailed to it."""
    fine(await suite.client.patch(f"{USERS}/me", json={"email": email}, headers=user.auth))
    mail = [mail for mail in await mails_of(suite, tenant) if mail.to == email][-1]
    return next(word for word in mail.text.split() if word.startswith(PUBLIC_URL))
