"""The mails about an account's password; their links lead to the configured public URL and nowhere else."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mis_accounts.link_tokens import LinkToken
from mis_mail.composition import Composition
from mis_mail.mail import Mail
from mis_mail.queue import MailQueue
from mis_tenancy.session import TenantSession
from mis_tenancy.tenancy import Tenancy
from mis_tenancy.tenant import Tenant

RESET_PATH: Final = "/login/reset"
_TEMPLATES: Final = Path(__file__).parent / "templates"


class Letters:
    """Writes to the holders of accounts; `public_url` is where links lead."""

    def __init__(self, public_url: str) -> None:
        self._composition = Composition(_TEMPLATES, public_url)

    def reset(self, tenant: str, name: str, email: str, token: LinkToken, expires_at: datetime) -> Mail:
        """Return the mail whose link lets its reader choose a new password."""
        return self._composition.compose(
            "reset",
            to=email,
            subject=f"Your new password at {tenant}",
            values={"tenant": tenant, "name": name, "path": RESET_PATH, "token": token.text},
            expires_at=expires_at,
        )

    def changed(self, tenant: str, name: str, email: str, now: datetime) -> Mail:
        """Return the mail that tells of a new password, so that nobody's is replaced behind their back."""
        return self._composition.compose(
            "changed",
            to=email,
            subject=f"Your password at {tenant} was changed",
            values={"tenant": tenant, "name": name, "when": f"{now:%Y-%m-%d %H:%M} UTC"},
        )


async def tell_of_change(
    session: TenantSession, tenancy: Tenancy, tenant: Tenant, email: str, name: str
) -> None:
    """Have the account's holder told that its password is another one, once the session commits."""
    mail = Letters(tenancy.settings.issuer).changed(tenant.name, name, email, datetime.now(UTC))
    await MailQueue(tenancy.wrapping).enqueue(session, mail, tenant_id=tenant.id)
