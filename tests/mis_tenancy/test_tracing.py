"""Where requests stand in traces, without spans and with them; spans are taken in memory here."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mis_tenancy.otel import OpenTelemetry
from mis_tenancy.redis import RedisUnavailable
from mis_tenancy.tracing import (
    calling,
    current_traceparent,
    standing_at,
    trace_id_in,
    traceparent_of,
    until_answered,
)
from tests.mis_tenancy.test_middleware import ALPHA, House
from tests.mis_tenancy.twins import http_scope, token_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
STATE = "rojo=00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@dataclass
class Traced:
    """A house whose spans are kept."""

    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self.tracer = OpenTelemetry("user", "http://nowhere", SimpleSpanProcessor(self.spans))
        self.house = House(tracer=self.tracer)

    def only(self) -> ReadableSpan:
        (span,) = self.spans.get_finished_spans()
        return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize(
    ("sent", "is_read"),
    [
        (PARENT, True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", True),
        (f"00-{TRACE}-{SPAN}-01-too-long", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (PARENT.upper(), False),
        ("00-short-id-01", False),
        (PARENT + "\n{}", False),
        ("", False),
    ],
)
def test_only_a_well_formed_traceparent_is_read(sent: str, is_read: bool) -> None:
    scope = http_scope(headers=[("traceparent", sent)])
    assert traceparent_of(scope) == (sent if is_read else None)


def test_two_of_them_are_none() -> None:
    header = ("traceparent", PARENT)
    assert traceparent_of(http_scope(headers=[header, header])) is None


def test_what_runs_inside_stands_there_and_what_follows_does_not() -> None:
    with standing_at(PARENT):
        assert current_traceparent() == PARENT
    assert current_traceparent() is None


async def test_without_a_tracer_log_lines_carry_the_callers_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mis_tenancy.middleware._log", structlog.get_logger())
    house = House()
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await house.ask("/api/v1/users", token_of(ALPHA), traceparent=PARENT)
        await house.ask("/api/v1/users", token_of(ALPHA))
    first, second = (line for line in logs if line["event"] == "request")
    assert (first["trace_id"], first["tenant_id"], first["outcome"]) == (TRACE, str(ALPHA.id), "success")
    assert "trace_id" not in second
    assert current_traceparent() is None


async def test_a_request_is_a_span_in_its_callers_trace_that_names_the_tenant() -> None:
    traced = Traced()
    await traced.house.ask("/api/v1/users/7", token_of(ALPHA), traceparent=PARENT, X_Request_ID="mine-1")
    span = traced.only()
    assert (span.name, span.kind) == ("GET /api/v1/users/{id}", SpanKind.SERVER)
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/api/v1/users/{id}",
        "http.response.status_code": 200,
        "mis.request_id": "mine-1",
        "mis.outcome": "success",
        "mis.tenant.id": str(ALPHA.id),
        "mis.tenant.slug": ALPHA.slug,
        "mis.tenant.plan": ALPHA.plan,
        "mis.tenant.sources": "token",
        "mis.principal.kind": "member",
    }
    assert span.resource.attributes["service.name"] == "user"


async def test_what_a_trace_says_of_itself_is_passed_on_and_what_is_no_trace_says_nothing() -> None:
    traced = Traced()
    for state in (f"{STATE},congo=ucfJifl5GOE", "a=" + "b" * 600, "=nonsense"):
        await traced.house.ask("/api/v1/users", token_of(ALPHA), traceparent=PARENT, tracestate=state)
    await traced.house.ask("/api/v1/users", token_of(ALPHA), traceparent="00-bad", tracestate=STATE)
    shown = [
        span.context.trace_state.to_header() for span in traced.spans.get_finished_spans() if span.context
    ]
    assert shown == [f"{STATE},congo=ucfJifl5GOE", "", "", ""]


@pytest.mark.parametrize("refusal", [None, RedisUnavailable("gone"), "cancelled"])
async def test_a_command_is_a_span_until_it_is_answered_and_tells_its_first_word(
    refusal: Exception | str | None,
) -> None:
    traced = Traced()
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    until_answered(answer, "redis", b"GET")
    request = traced.tracer.request("GET /", None, None, {})
    with standing_at(request.traceparent, request):
        until_answered(answer, "redis", b"EVALSHA")
        assert traced.spans.get_finished_spans() == ()
        if isinstance(refusal, Exception):
            answer.set_exception(refusal)
        elif refusal:
            answer.cancel()
        else:
            answer.set_result(b"1")
        await asyncio.sleep(0)
    span = traced.only()
    assert (span.name, span.kind) == ("EVALSHA", SpanKind.CLIENT)
    error = {None: {}, "cancelled": {"error.type": "CancelledError"}}.get(
        refusal if not isinstance(refusal, Exception) else "", {"error.type": "RedisUnavailable"}
    )
    assert attributes(span) == {"db.system.name": "redis", "db.operation.name": "EVALSHA"} | error
    request.end({}, failed=False)
    # What a request leaves running behind it belongs to nobody.
    with standing_at(request.traceparent, request):
        until_answered(answer, "redis", b"GET")
    request.leave()
    assert len(traced.spans.get_finished_spans()) == 2


def test_a_call_that_fails_tells_the_kind_of_its_failure_and_raises_it() -> None:
    traced = Traced()
    with calling("send mail", {}):
        pass
    job = traced.tracer.job("job mail", None, {})
    with standing_at(job.traceparent, job), pytest.raises(OSError, match="to zoe@"), calling("send mail", {}):
        raise ConnectionRefusedError("to zoe@x.example")
    span = traced.only()
    assert attributes(span) == {"error.type": "ConnectionRefusedError"}
    assert span.status.status_code is StatusCode.ERROR
    assert "zoe@" not in span.to_json()
    job.leave()


async def test_a_request_that_brings_no_trace_or_a_bad_one_begins_one() -> None:
    traced = Traced()
    for headers in ({}, {"traceparent": "00-bad-bad-01"}):
        await traced.house.ask("/api/v1/users", token_of(ALPHA), **headers)
    first, second = traced.spans.get_finished_spans()
    assert first.parent is second.parent is None
    assert first.context is not None
    assert second.context is not None
    assert first.context.trace_id != second.context.trace_id


@pytest.mark.parametrize(
    ("path", "token", "status", "failed"),
    [
        ("/api/v1/users/x/crash", True, 500, True),
        ("/api/v1/users/x/deny", True, 403, False),
        ("/api/v1/users", False, 401, False),
    ],
)
async def test_only_what_we_did_wrong_is_an_error(path: str, token: bool, status: int, failed: bool) -> None:
    traced = Traced()
    await traced.house.ask(path, token_of(ALPHA) if token else None)
    span = traced.only()
    assert attributes(span)["http.response.status_code"] == status
    assert (span.status.status_code is StatusCode.ERROR) is failed
    # Neither what an exception said nor where it was raised leaves the process.
    assert not span.events
    assert "secret detail" not in span.to_json()


async def test_probes_make_no_spans_and_nothing_stays_behind() -> None:
    traced = Traced()
    assert (await traced.house.ask("/healthz", traceparent=PARENT)).status_code == 200
    assert traced.spans.get_finished_spans() == ()
    assert current_traceparent() is None


async def test_requests_at_once_stand_each_in_their_own_trace() -> None:
    traced = Traced()
    transport = httpx.ASGITransport(traced.house.app)
    traces = [f"{number:032x}" for number in range(1, 21)]
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        auth = {"Authorization": f"Bearer {token_of(ALPHA)}"}
        asked = (
            client.get("/api/v1/users/x/slow", headers=auth | {"traceparent": f"00-{trace}-{SPAN}-01"})
            for trace in traces
        )
        await asyncio.gather(*asked)
    found = [span.context.trace_id for span in traced.spans.get_finished_spans() if span.context]
    assert sorted(f"{one:032x}" for one in found) == traces


def test_a_jobs_span_is_linked_to_its_cause_and_stands_in_a_trace_of_its_own() -> None:
    traced = Traced()
    span = traced.tracer.job("job export", PARENT, {"mis.job.attempt": 1})
    inside = traced.tracer.request("inside", None, None, {})
    inside.end({}, failed=False)
    inside.leave()
    span.end({"mis.outcome": "done"}, failed=False)
    span.leave()
    ended = traced.spans.get_finished_spans()[-1]
    (link,) = ended.links
    assert (f"{link.context.trace_id:032x}", ended.kind) == (TRACE, SpanKind.CONSUMER)
    assert trace_id_in(span.traceparent) != TRACE
    assert ended.parent is None
