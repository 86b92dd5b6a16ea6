"""Sends messages by SMTP, over TLS with a verified certificate.

A server that is away is left alone for a moment, so that the jobs of many mails do not all wait for it.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from mis_mail.transport import MailRefused, MailUndelivered
from mis_tenancy.settings import SettingsError

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_COMMAND_SECONDS: Final = 10.0
_MESSAGE_SECONDS: Final = 45.0
_PAUSE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server, as `smtp://user:password@host:port` or `smtps://…` names it.

    `smtps` is TLS from the first byte on. `smtp` demands STARTTLS, except on this machine, and where
    `?starttls=off` says that the way to the server is one's own.
    """

    host: str
    port: int
    is_tls: bool
    is_starttls: bool
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Server":
        """Read MIS_SMTP_URL; raise SettingsError where it says something that cannot be meant."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SettingsError("MIS_SMTP_URL: the port is not a number from 1 to 65535.") from error
        starttls = parse_qs(parts.query).get("starttls", ["on"])[-1]
        if not parts.hostname or parts.path.strip("/") or starttls not in ("on", "off"):
            raise SettingsError("MIS_SMTP_URL: set it to smtp://user:password@host:port or smtps://….")
        is_tls, is_near = parts.scheme == "smtps", parts.hostname in _LOOPBACK
        is_starttls = not is_tls and not is_near and starttls == "on"
        if parts.username and not (is_tls or is_starttls or is_near):
            raise SettingsError("MIS_SMTP_URL: with starttls=off the password would travel in clear.")
        return cls(
            host=parts.hostname,
            port=port or (465 if is_tls else 587),
            is_tls=is_tls,
            is_starttls=is_starttls,
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __repr__(self) -> str:
        return f"Server({self.host}:{self.port})"


class SmtpTransport:
    """A transport to one mail server; `tls` stands in for the system's certificates."""

    def __init__(
        self,
        server: Server,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._tls = tls or ssl.create_default_context()
        self._clock = clock
        self._away_until = float("-inf")

    async def send(self, message: EmailMessage) -> None:
        """Hand the message over to the server."""
        if self._clock() < self._away_until:
            raise MailUndelivered("The mail server was away a moment ago.")
        try:
            async with asyncio.timeout(_MESSAGE_SECONDS):
                await self._hand_over(message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _answer(max(one.code for one in error.recipients)) from None
        except aiosmtplib.SMTPDataError as error:
            raise _answer(error.code) from None
        except aiosmtplib.SMTPNotSupported:
            raise MailRefused("The mail server takes no address beyond ASCII.") from None
        except aiosmtplib.SMTPResponseException as error:
            # Who we are or who we say we are is wrong: a matter of settings, which somebody can mend.
            raise MailUndelivered(f"The mail server answered {error.code}.") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            self._away_until = self._clock() + _PAUSE_SECONDS
            raise MailUndelivered(f"The mail server gave no good answer ({type(error).__name__}).") from None

    async def check(self) -> None:
        """Say who we are and leave; raise MailUndelivered where the server does not let us in."""
        try:
            async with asyncio.timeout(_COMMAND_SECONDS), self._client() as client:
                await client.noop()
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise MailUndelivered(f"The mail server gave no good answer ({type(error).__name__}).") from None

    async def _hand_over(self, message: EmailMessage) -> None:
        async with self._client() as client:
            await client.send_message(message)

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.is_tls,
            start_tls=server.is_starttls,
            tls_context=self._tls,
            timeout=_COMMAND_SECONDS,
        )


def _answer(code: int) -> MailRefused | MailUndelivered:
    """Return what an answer about the message or its recipient means (RFC 5321 §4.2.1)."""
    return (MailRefused if code >= 500 else MailUndelivered)(f"The mail server answered {code}.")
