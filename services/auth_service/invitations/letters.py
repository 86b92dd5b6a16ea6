"""The mail that invites somebody, whose link leads to the configured public URL and nowhere else."""

from pathlib import Path
from typing import Final

from mis_accounts.invitations import ACCEPT_PATH
from mis_accounts.link_tokens import LinkToken
from mis_mail.composition import Composition
from mis_mail.mail import Mail
from mis_models.links import InvitationRow
from mis_tenancy.tenant import Tenant

_TEMPLATES: Final = Path(__file__).parent / "templates"


class Letters:
    """Writes invitations; `public_url` is where their links lead."""

    def __init__(self, public_url: str) -> None:
        self._composition = Composition(_TEMPLATES, public_url)

    def invitation(self, row: InvitationRow, token: LinkToken, tenant: Tenant) -> Mail:
        """Return the mail of the invitation."""
        values = {
            "tenant": tenant.name,
            "role": row.role,
            "path": ACCEPT_PATH,
            "token": token.text,
            "until": f"{row.expires_at:%Y-%m-%d %H:%M} UTC",
        }
        return self._composition.compose(
            "invitation",
            to=row.email,
            subject=f"{tenant.name} invites you",
            values=values,
            expires_at=row.expires_at,
        )
