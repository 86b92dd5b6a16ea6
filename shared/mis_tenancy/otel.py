"""Spans by OpenTelemetry, sent over OTLP: the extra `tracing`.

It keeps to a provider of its own instead of the process's global one, so that several services of a process
stay apart. A span says which route, which tenant and how it ended; of a statement it holds the text, never
the values; of a command to Redis its name; and of a failure its kind, never its message.
"""

import asyncio
from contextlib import AbstractContextManager
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Select, event

from mis_tenancy.database import Database
from mis_tenancy.tracing import Attributes, calling

_LONGEST_STATEMENT: Final = 2_000
_DATABASE: Final = {"db.system.name": "postgresql"}


class OpenTelemetry:
    """Makes the spans of one service and sends them to `url`, an OTLP receiver's, such as a collector's.

    Sampling, headers, limits and further attributes are the standard's own variables' to say
    (`OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, …), which the library
    reads. `processor` takes the spans instead of sending them.
    """

    def __init__(self, service: str, url: str, processor: SpanProcessor | None = None) -> None:
        resource = Resource.create({"service.namespace": "mis", "service.name": service})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            processor or BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces"))
        )
        self._tracer = self._provider.get_tracer("mis_tenancy")

    def request(
        self, name: str, traceparent: str | None, tracestate: str | None, attributes: Attributes
    ) -> "Span":
        """Begin the span of a request, in the caller's trace and state if those are known."""
        context = _context_of(traceparent, tracestate)
        span = self._tracer.start_span(name, context, SpanKind.SERVER, dict(attributes))
        return Span(self._tracer, span, context)

    def job(self, name: str, cause: str | None, attributes: Attributes) -> "Span":
        """Begin the span of a job, in a trace of its own that is linked to its cause."""
        return self._caused(name, SpanKind.CONSUMER, cause, attributes)

    def message(self, name: str, cause: str | None, attributes: Attributes) -> "Span":
        """Begin the span of what is sent out by itself, in a trace of its own that is linked to its cause."""
        return self._caused(name, SpanKind.CLIENT, cause, attributes)

    def watch(self, database: Database) -> None:
        """Make spans of the database's statements, as far as they belong to a request or a job."""
        engine = database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", self._begin_statement)
        event.listen(engine, "after_cursor_execute", _end_statement)
        event.listen(engine, "handle_error", _fail_statement)
        database.around_fetch = _fetching

    async def stop(self) -> None:
        """Send what is left, and stop."""
        # It waits for the receiver, and the event loop has others to serve meanwhile.
        await asyncio.to_thread(self._provider.shutdown)

    def _begin_statement(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        execution = rest[1]
        if execution is not None and trace.get_current_span().is_recording():
            operation = statement.split(maxsplit=1)[0].upper()
            text = {"db.operation.name": operation, "db.query.text": statement[:_LONGEST_STATEMENT]}
            execution.mis_span = self._tracer.start_span(
                operation, kind=SpanKind.CLIENT, attributes=_DATABASE | text
            )

    def _caused(self, name: str, kind: SpanKind, cause: str | None, attributes: Attributes) -> "Span":
        context, caused_by = Context(), trace.get_current_span(_context_of(cause)).get_span_context()
        links = [Link(caused_by)] if caused_by.is_valid else []
        span = self._tracer.start_span(name, context, kind, dict(attributes), links)
        return Span(self._tracer, span, context)


def _fetching(statement: Select[*tuple[Any, ...]]) -> AbstractContextManager[None]:
    table = getattr(statement.get_final_froms()[0], "name", "")
    attributes = _DATABASE | {"db.operation.name": "SELECT", "db.collection.name": table}
    return calling(f"SELECT {table}", attributes)


class Span:
    """A span that what happens meanwhile belongs to."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span, context: Context) -> None:
        self._tracer = tracer
        self._span = span
        self._token = attach(trace.set_span_in_context(span, context))
        own = span.get_span_context()
        self.traceparent = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"

    def call(self, name: str, attributes: Attributes) -> "Call | None":
        """Begin the span of a call that belongs to it; None where nobody would hear of it."""
        if not trace.get_current_span().is_recording():
            return None
        return Call(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=dict(attributes)))

    def end(self, attributes: Attributes, *, failed: bool) -> None:
        """Say how it ended, once."""
        self._span.set_attributes(dict(attributes))
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def leave(self) -> None:
        """Let what happens from here on belong to it no longer."""
        detach(self._token)


class Call:
    """The span of a call to somebody else."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def end(self, error: BaseException | None) -> None:
        """Say how it ended, once."""
        if error is not None:
            _fail(self._span, error)
        self._span.end()


def _context_of(traceparent: str | None, tracestate: str | None = None) -> Context:
    said = {"traceparent": traceparent, "tracestate": tracestate}
    carrier = {name: value for name, value in said.items() if value is not None}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _end_statement(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
    if span := getattr(rest[1], "mis_span", None):
        span.end()


def _fail_statement(failure: Any) -> None:
    if span := getattr(failure.execution_context, "mis_span", None):
        _fail(span, failure.original_exception)
        span.end()


def _fail(span: trace.Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR))
