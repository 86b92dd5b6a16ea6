"""What a look at one thing came to, and how a look that fails becomes a finding instead of a traceback."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from mis_mail.transport import MailError
from mis_tenancy.errors import ProblemError
from mis_tenancy.redis import RedisError
from mis_tenancy.settings import SettingsError

_PATIENCE_SECONDS: Final = 20.0
# What drivers and stores raise where something is away or refuses us; anything else is a defect of ours.
_EXPECTED: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    SQLAlchemyError,
    MailError,
    ProblemError,
    RedisError,
    SettingsError,
    OSError,
    ValueError,
)


class Status(StrEnum):
    """How well something stands: only `fail` makes the whole fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found and, where it is not right, what to do."""

    name: str
    status: Status
    detail: str
    advice: str = ""


Look = Callable[[], Awaitable[Sequence[Finding]]]


def fine(name: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(name, Status.OK, detail)


def warn(name: str, detail: str, advice: str) -> Finding:
    """Return what works and may come to matter."""
    return Finding(name, Status.WARN, detail, advice)


def fail(name: str, detail: str, advice: str) -> Finding:
    """Return what must be put right."""
    return Finding(name, Status.FAIL, detail, advice)


async def looked(name: str, advice: str, look: Look) -> Sequence[Finding]:
    """Return what `look` finds; where it cannot even look, that `name` fails, with `advice`."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await look()
    except TimeoutError:
        return [fail(name, f"no answer within {_PATIENCE_SECONDS:g} s", advice)]
    except _EXPECTED as error:
        return [fail(name, reason_of(error), advice)]


def reason_of(error: Exception) -> str:
    """Return an error's first line. Drivers name hosts, roles and databases there, never a password."""
    return str(error).partition("\n")[0].strip() or type(error).__name__
