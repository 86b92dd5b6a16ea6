"""Keeps messages as files, for development: `*.eml`, which every mail program opens."""

import asyncio
import os
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path

import structlog

from mis_tenancy.identifiers import new_id

_log = structlog.get_logger(__name__)


class FolderTransport:
    """A transport into `folder`, which is made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        """Write the message to a file of its own, and name it in the log."""
        file = await asyncio.to_thread(self._write, message)
        _log.info("mail.kept", file=str(file))

    def _write(self, message: EmailMessage) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"{new_id()}.eml"
        policy = SMTP if str(message["To"]).isascii() else SMTPUTF8
        # A link in it may open a door, so it is for this user's eyes only.
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(message.as_bytes(policy=policy))
        return file
