"""Asking for a new password: the request does the same for every address, known or not.

It only leaves a job with the address, sealed, because jobs are read by the worker's role; whether anybody has
the address is for the worker to find out. So neither the answer nor its time can tell (OWASP ASVS 2.2).
"""

import base64
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.login.service import normalized
from auth_service.naming import named_tenant
from auth_service.throttling.service import is_within
from mis_jobs.jobs import enqueue
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id

# The kind of the job that finds out whom to write to.
RESET_MAIL: Final = "password_reset_mail"
MOST_OF_ACCOUNT: Final = 5
_ACCOUNT_WINDOW: Final = timedelta(hours=1)
MOST_OF_ADDRESS: Final = 30
_ADDRESS_WINDOW: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Takes requests for a new password, from the client `caller`."""

    authority: Authority
    caller: Caller

    async def ask(self, email: str, tenant_slug: str | None) -> None:
        """Have a link mailed, if a user of the tenant has the address.

        Beyond five an hour for an address, or thirty in 15 minutes from a network, nothing is mailed; the
        answer stays the same.
        """
        tenant, realm, caller = await named_tenant(self.authority, self.caller, tenant_slug)
        tenant_id, email_norm = None if tenant is None else tenant.id, normalized(email)
        digest = sha256(f"{realm}\0{email_norm}".encode("utf-8", "replace")).hexdigest()
        async with self.authority.transaction(tenant_id) as session:
            by_account = await is_within(session, f"forgot:{digest}", MOST_OF_ACCOUNT, _ACCOUNT_WINDOW)
            network = f"forgot-from:{caller.network}"
            by_address = await is_within(session, network, MOST_OF_ADDRESS, _ADDRESS_WINDOW)
            record(session, tenant_id, "password.forgotten", caller)
            if tenant_id is not None and by_account and by_address:
                payload = sealed(self.authority.tenancy.wrapping, email_norm, tenant_id)
                await enqueue(session, RESET_MAIL, payload, tenant_id=tenant_id)


def sealed(wrapping: Wrapping, email_norm: str, tenant_id: UUID) -> dict[str, Any]:
    """Return the payload of a job about the address, which only a master key opens."""
    ask_id = new_id()
    text, key_id = wrapping.wrap(email_norm.encode("utf-8", "replace"), _purpose(ask_id, tenant_id))
    return {"ask": str(ask_id), "key": key_id, "sealed": base64.b64encode(text).decode()}


def opened(wrapping: Wrapping, payload: dict[str, Any], tenant_id: UUID) -> str:
    """Return the address that `sealed` made the payload of."""
    purpose = _purpose(UUID(payload["ask"]), tenant_id)
    return wrapping.unwrap(base64.b64decode(payload["sealed"]), payload["key"], purpose).decode()


def _purpose(ask_id: UUID, tenant_id: UUID) -> str:
    return f"password-reset:{tenant_id}:{ask_id}"
