"""Where a request stands in a trace (W3C Trace Context), and the seam behind which spans are made.

A trace's id costs next to nothing, so it is always known: log lines carry it, and a job knows that of its
cause. Spans are made where a `Tracer` is given; `otel.py` is the one there is, and stays unimported without.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

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
# What a trace says of itself to whom it concerns; of a longer one we are free to drop all (§3.3.1.5).
_LONGEST_STATE: Final = 512
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16

_current: ContextVar[str | None] = ContextVar("mis_traceparent", default=None)


class Call(Protocol):
    """A call to somebody else, from when it leaves until it is answered."""

    def end(self, error: BaseException | None) -> None:
        """Say how it ended, once."""
        ...


class Span(Protocol):
    """Something that takes time in a trace; what happens while it is under way belongs to it."""

    traceparent: str

    def call(self, name: str, attributes: Attributes) -> Call | None:
        """Begin the span of a call that belongs to it; None where nobody would hear of it."""
        ...

    def end(self, attributes: Attributes, *, failed: bool) -> None:
        """Say how it ended, once."""
        ...

    def leave(self) -> None:
        """Let what happens from here on belong to it no longer."""
        ...


_under_way: ContextVar[Span | None] = ContextVar("mis_span", default=None)


class Tracer(Protocol):
    """What makes spans, and sends them to where they are kept."""

    def request(
        self, name: str, traceparent: str | None, tracestate: str | None, attributes: Attributes
    ) -> Span:
        """Begin the span of a request, in the caller's trace and state if those are known."""
        ...

    def job(self, name: str, cause: str | None, attributes: Attributes) -> Span:
        """Begin the span of a job, in a trace of its own that is linked to its cause."""
        ...

    def message(self, name: str, cause: str | None, attributes: Attributes) -> Span:
        """Begin the span of what is sent out by itself, in a trace of its own that is linked to its cause."""
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


def tracestate_of(scope: Scope) -> str | None:
    """Return the request's `tracestate`, its headers joined, if it is not too long to be passed on."""
    text = b",".join(header_values(scope, b"tracestate")).decode("latin-1")
    return text if 0 < len(text) <= _LONGEST_STATE else None


def trace_id_in(traceparent: str) -> str:
    """Return the id of the trace."""
    return traceparent.split("-", 2)[1]


def current_traceparent() -> str | None:
    """Return where what runs now stands in a trace, for what it causes; None where it stands in none."""
    return _current.get()


@contextmanager
def standing_at(traceparent: str | None, span: Span | None = None) -> Iterator[None]:
    """Let what runs inside stand there, and its calls belong to the span."""
    token, outer = _current.set(traceparent), _under_way.set(span)
    try:
        yield
    finally:
        _under_way.reset(outer)
        _current.reset(token)


@contextmanager
def calling(name: str, attributes: Attributes) -> Iterator[None]:
    """Let what runs inside be the span of a call to somebody else, where spans are made."""
    span = _under_way.get()
    call = None if span is None else span.call(name, attributes)
    try:
        yield
    except BaseException as error:
        if call is not None:
            call.end(error)
        raise
    if call is not None:
        call.end(None)


def until_answered(answer: asyncio.Future[Any], system: str, operation: bytes | str | int) -> None:
    """Let a command that was sent to a system of data be a span until it is answered, where spans are made.

    Of the command only its first word is told: the others may be addresses and other people's words.
    """
    span = _under_way.get()
    if span is None:
        return
    name = operation.decode() if isinstance(operation, bytes) else str(operation)
    call = span.call(name, {"db.system.name": system, "db.operation.name": name})
    if call is not None:
        answer.add_done_callback(partial(_end, call))


def _end(call: Call, answer: asyncio.Future[Any]) -> None:
    call.end(asyncio.CancelledError() if answer.cancelled() else answer.exception())


class RequestTrace:
    """Where one request stands from its arrival on: in the span that `begin` makes, or in its caller's."""

    __slots__ = ("_outer", "_span", "_token", "traceparent")

    def __init__(self, scope: Scope, begin: Callable[[str | None, str | None], Span] | None = None) -> None:
        self.traceparent = traceparent_of(scope)
        self._span = None if begin is None else begin(self.traceparent, tracestate_of(scope))
        if self._span is not None:
            self.traceparent = self._span.traceparent
            self._outer = _under_way.set(self._span)
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
            _under_way.reset(self._outer)
            self._span.leave()
        if self._token is not None:
            _current.reset(self._token)
