"""Which transport the settings ask for."""

from pathlib import Path

from mis_mail.folder import FolderTransport
from mis_mail.smtp import Server, SmtpTransport
from mis_mail.transport import Transport


def transport_for(smtp_url: str | None, folder: Path | None) -> Transport | None:
    """Return the mail server's transport, else the folder's, else None; raise SettingsError."""
    if smtp_url is not None:
        return SmtpTransport(Server.parse(smtp_url))
    return None if folder is None else FolderTransport(folder)
