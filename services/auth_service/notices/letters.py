"""The mail that tells a user of a change to how they sign in, so that somebody else's is noticed."""

from pathlib import Path
from typing import Final

from mis_mail.composition import Composition
from mis_mail.mail import Mail

_TEMPLATES: Final = Path(__file__).parent / "templates"


class Notices:
    """Writes them; `public_url` is where the suite is."""

    def __init__(self, public_url: str) -> None:
        self._composition = Composition(_TEMPLATES, public_url)

    def changed(self, *, to: str, name: str, tenant: str, what: str) -> Mail:
        """Return the mail to the user `name` of `tenant`; `what` is one sentence about what has changed."""
        values = {"name": name, "tenant": tenant, "what": what}
        subject = f"Your sign-in at {tenant} has changed"
        return self._composition.compose("changed", to=to, subject=subject, values=values)
