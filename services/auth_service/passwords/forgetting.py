"""Asking for a new password: the request does the same for every address, known or not.

It only leaves a job with the address, sealed, because jobs are read by the worker's role; whether anybody has
the address is for the worker to find out. So neither the answer nor its time can tell (OWASP ASVS 2.2).
"""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from auth_service.audit import record
from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.login.service import normalized
from auth_service.naming import named_tenant
from auth_service.throttling.service import is_within
from mis_accounts.reset_asks import RESET_MAIL, sealed
from mis_jobs.jobs import enqueue

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
