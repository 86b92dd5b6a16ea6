"""Changing a user's address: it takes effect when whoever reads mail at the new one says so.

The old address is told at once, so that nobody's account moves away without a word to them.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from mis_accounts.account_links import add_account_link, drop_account_links
from mis_accounts.emails import parse_email
from mis_accounts.link_tokens import LinkPurpose
from mis_accounts.members import EmailTaken
from mis_mail.composition import Composition
from mis_mail.queue import MailQueue
from mis_models.accounts import UserRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant
from user_service.users import repository

LIFETIME: Final = timedelta(days=1)
CONFIRM_PATH: Final = "/login/email"
_TEMPLATES: Final = Path(__file__).parent / "templates"


class AddressChanges:
    """Asks new addresses to confirm; `public_url` is where the links lead."""

    def __init__(self, session: TenantSession, tenant: Tenant, mails: MailQueue, public_url: str) -> None:
        self._session = session
        self._tenant = tenant
        self._mails = mails
        self._composition = Composition(_TEMPLATES, public_url)

    async def ask(self, user: UserRow, text: str) -> bool:
        """Mail the link to the new address and word of it to the old one; return whether they differ.

        A newer request replaces an older one. Raise EmailTaken for the address of another user.
        """
        email = parse_email(text)
        if email.address == user.email:
            return False
        if await repository.is_taken(self._session, email.norm, but_by=user.id):
            raise EmailTaken
        now = datetime.now(UTC)
        await drop_account_links(self._session, user.id, LinkPurpose.EMAIL_CHANGE)
        token = await add_account_link(
            self._session, LinkPurpose.EMAIL_CHANGE, user.id, now=now, lifetime=LIFETIME, email=email.address
        )
        values = {"tenant": self._tenant.name, "path": CONFIRM_PATH, "token": token.text}
        await self._send("confirm", email.address, values, expires_at=now + LIFETIME)
        await self._send("moving", user.email, {"tenant": self._tenant.name})
        return True

    async def _send(
        self, name: str, to: str, values: dict[str, str], expires_at: datetime | None = None
    ) -> None:
        subject = f"Your address at {self._tenant.name}"
        mail = self._composition.compose(name, to=to, subject=subject, values=values, expires_at=expires_at)
        await self._mails.enqueue(self._session, mail, tenant_id=self._tenant.id)
