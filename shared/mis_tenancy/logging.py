"""Logs as one JSON object a line, without secrets.

Our own lines and those of libraries pass the same processors. A value is withheld by the name it stands
under, and anything that looks like one of our tokens also in the middle of a text; JSON's own escapes keep a
line break in a value from forging a line.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import NoneType
from typing import Any, Final, TextIO
from uuid import UUID

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

WITHHELD: Final = "[withheld]"

_SECRET_NAME: Final = re.compile(
    r"authorization|token|password|passphrase|passwd|secret|cookie|credential|otp$|recovery_?codes?"
    r"|^(?:api|master|private|signing|data|encryption)?[_-]?keys?$",
    re.IGNORECASE,
)
_SECRET_TEXT: Final = re.compile(
    r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|\b(?:mis|whsec)_(?![a-z_]*[/.])[A-Za-z0-9_+/=-]{16,}"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"
)
_DEEPEST: Final = 8
_NUMBERS: Final = frozenset({int, float, bool, NoneType})


def configure_logging(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` (standard output) as JSON, from `level` on."""
    number, output, shared = (
        logging.getLevelNamesMapping()[level.upper()],
        stream or sys.stdout,
        _lines(service),
    )
    _configure_structlog(shared, number, output)
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.PositionalArgumentsFormatter(),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # It tells of each request with its whole URL, and the address of a delivery may be a secret.
    logging.getLogger("httpx").setLevel(max(number, logging.WARNING))


def ensure_logging(service: str) -> None:
    """Where the application has not said how structlog writes, have it write as `configure_logging` does.

    Its own default shows beside an error what every variable holds, bearers included. What goes through
    Python's logging stays as it is.
    """
    if not structlog.is_configured():
        _configure_structlog(_lines(service), logging.INFO, sys.stdout)


def _lines(service: str) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
        _as_json,
    ]


def _configure_structlog(lines: list[Processor], level: int, output: TextIO) -> None:
    structlog.configure(
        processors=lines,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=True,
    )


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Withhold every value under a secret's name, at any depth, and every token inside a text."""
    return {
        name: value if _is_harmless(name, value) else _redacted(name, value, _DEEPEST)
        for name, value in event.items()
    }


def _is_harmless(name: str, value: Any) -> bool:
    """Return whether a value may stand as it is, as nearly all do."""
    is_plain = not _may_hold_secret(value) if type(value) is str else type(value) in _NUMBERS
    return is_plain and not _is_secret(name)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _redacted(name: str, value: Any, depth: int) -> Any:
    if _is_secret(name):
        return WITHHELD
    if isinstance(value, str):
        return _SECRET_TEXT.sub(WITHHELD, value) if _may_hold_secret(value) else value
    if value is None or isinstance(value, int | float):
        return value
    if depth == 0:
        return WITHHELD
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item, depth - 1) for item in value]
    if isinstance(value, bytes | bytearray):
        return _redacted(name, value.decode("utf-8", "replace"), depth)
    # What an object shows of itself may hold a secret too.
    return _redacted(name, str(value) if isinstance(value, UUID | datetime) else repr(value), depth)


def _may_hold_secret(text: str) -> bool:
    """Return whether `_SECRET_TEXT` can match, which is hardly ever: searching costs more."""
    return "eyJ" in text or "mis_" in text or "whsec_" in text or "earer " in text or "://" in text


def _as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Return the line; only ASCII, because some readers take U+2028 for the end of one."""
    line = msgspec.json.encode(event)
    return line.decode() if line.isascii() else json.dumps(event)


def _named(service: str) -> Processor:
    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        # Services that share a process name themselves.
        event.setdefault("service", service)
        return event

    return add
