"""Where a request stands in a trace (W3C Trace Context), and the seam behind which spans are made.

A trace's id costs next to nothing, so it is always known: log lines carry it, and a job knows that of its
cause. Spans are made where a `Tracer` is given; `otel.py` is the one there is, and stays unimported without.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

from starlette.types import Scope

from mis_tenancy.http.requests import header_values

if TYPE_CHECKING:
    from mis_tenancy.database import Database

Attributes = Mapping[str, str | int]

# Version 00 ends with the flags; what a later version adds is not ours to read (§3.2 of the recommendation).
_TRACEPARENT: Final = re.compile(
    r"(?:00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?P<later>[0-9a-f]{32})-(?P<later_span>[0-9a-f]{16})-[0-9a-f]{2}(?:-.{0,400})?)"
)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16

_current: ContextVar[str | None] = ContextVar("mis_traceparent", default=None)


class Span(Protocol):
    """Something that takes time in a trace; what happens while it is under way belongs to it."""

    traceparent: str

    def end(self, attributes: Attributes, *, failed: bool) -> None:
        """Say how it ended, once."""
        ...

    def leave(self) -> None:
        """Let what happens from here on belong to it no longer."""
        ...


class Tracer(Protocol):
    """What makes spans, and sends them to where they are kept."""

    def request(self, name: str, traceparent: str | None, attributes: Attributes) -> Span:
        """Begin the span of a request, in the caller's trace if that is known."""
        ...

    def job(self, name: str, cause: str | None, attributes: Attributes) -> Span:
        """Begin the span of a job, in a trace of its own that is linked to its cause."""
        ...

    def watch(self, database: "Database") -> None:
        """Make spans of the database's statements, as far as they belong to a request or a job."""
        ...

    async def stop(self) -> None:
        """Send what is left, and stop."""
        ...


def traceparent_of(scope: Scope) -> str | None:
    """Return the request's `traceparent` if it is well-formed and the only one."""
    sent = header_values(scope, b"traceparent")
    if len(sent) != 1:
        return None
    text = sent[0].decode("latin-1").strip()
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    trace, span = found["trace"] or found["later"], found["span"] or found["later_span"]
    return None if trace == _NO_TRACE or span == _NO_SPAN else text


def trace_id_in(traceparent: str) -> str:
    """Return the id of the trace."""
    return traceparent.split("-", 2)[1]


def current_traceparent() -> str | None:
    """Return where what runs now stands in a trace, for what it causes; None where it stands in none."""
    return _current.get()


@contextmanager
def standing_at(traceparent: str | None) -> Iterator[None]:
    """Let what runs inside stand there."""
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)


class RequestTrace:
    """Where one request stands from its arrival on: in the span that `begin` makes, or in its caller's."""

    __slots__ = ("_span", "_token", "traceparent")

    def __init__(self, scope: Scope, begin: Callable[[str | None], Span] | None = None) -> None:
        self.traceparent = traceparent_of(scope)
        self._span = None if begin is None else begin(self.traceparent)
        if self._span is not None:
            self.traceparent = self._span.traceparent
        self._token = None if self.traceparent is None else _current.set(self.traceparent)

    @property
    def id(self) -> str | None:
        """The trace's id, if the request stands in one."""
        return None if self.traceparent is None else trace_id_in(self.traceparent)

    @property
    def has_span(self) -> bool:
        """Whether somebody wants to know how it ended."""
        return self._span is not None

    def end(self, attributes: Attributes, *, failed: bool) -> None:
        """Say how the request ended."""
        if self._span is not None:
            self._span.end(attributes, failed=failed)

    def leave(self) -> None:
        """Let what the server does next stand in no trace."""
        if self._span is not None:
            self._span.leave()
        if self._token is not None:
            _current.reset(self._token)
