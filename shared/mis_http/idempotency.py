"""`Idempotency-Key`: a creating POST that is sent again answers as it did the first time.

A router whose creating endpoints honour the key is built with `route_class=IdempotentRoute`. The route
leases the key in a transaction of its own, so that a second request meets it at once; the answer is written
into the endpoint's session, so that key and effect commit together or not at all. A killed request's lease
runs out after a minute and frees its key.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from mis_http.kept_answers import (
    LEASE,
    AnswerStore,
    KeptAnswer,
    KeyOfRequest,
    PlatformAnswers,
    Row,
    TenantAnswers,
)
from mis_http.problems import problem_response
from mis_http.routes.direct_route import DirectRoute, Handler
from mis_http.sessions import platform_of
from mis_tenancy.access import Permission, is_platform_operator, require_feature, require_permission
from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError, ValidationFailed
from mis_tenancy.fastapi import tenancy_of
from mis_tenancy.middleware import admission_of
from mis_tenancy.plans import Feature
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tenant import Principal, Tenant

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_NOT_KEPT: Final = frozenset({401, 429})
_HEADERS_KEPT: Final = frozenset({"content-type", "location", "etag"})


class IdempotencyKeyReused(ProblemError):
    """The key was used for another body."""

    status = 422
    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was used for a request with another body. Use a new key for a new request."


class IdempotencyInProgress(ProblemError):
    """The first request with this key is still running."""

    status = 409
    code = "idempotency_in_progress"
    detail = "The first request with this Idempotency-Key is still running. Repeat it in a moment."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


@dataclass(frozen=True, slots=True)
class _Try:
    """One request with a key, and where its answer is kept."""

    request: KeyOfRequest
    store: AnswerStore
    database: Database
    open: Callable[[], AbstractAsyncContextManager[Any]]


class IdempotentRoute(DirectRoute):
    """A route whose POST honours `Idempotency-Key` of verified callers; a plain route without it."""

    def get_route_handler(self) -> Handler:
        """Wrap the usual handler; with a key FastAPI's own, which returns while the session is still open."""
        answer, answer_within = super().get_route_handler(), APIRoute.get_route_handler(self)
        demands = list(_demands_of(self.dependant))

        async def once(request: Request) -> Response:
            attempt = await _attempt(request, self.compared)
            if attempt is None:
                return await answer(request)
            _require_again(request, demands)
            held = await _lease(attempt)
            if held is not None:
                return held
            async with _heartbeat(attempt):
                return await _first(attempt, request, answer_within)

        return once

    async def compared(self, request: Request) -> bytes:
        """Return what a repetition must have in common with the first request beside its query."""
        return await request.body()


class IdempotentUploadRoute(IdempotentRoute):
    """An IdempotentRoute whose bodies are too large to be read for comparing them.

    They are told apart by their digest (RFC 9530) where that is sent, else by type and length.
    """

    async def compared(self, request: Request) -> bytes:
        """Return the digest the client sent, or what else it says of the body."""
        sent = request.headers
        kind = sent.get("content-type", "").partition(";")[0].strip().lower()
        return sent.get("content-digest", f"{kind} {sent.get('content-length', '')}").encode()


def _demands_of(dependant: Dependant) -> Iterator[Permission | Feature]:
    """Yield what the route's dependencies demand (see `mis_tenancy.fastapi`)."""
    for inner in dependant.dependencies:
        demand = getattr(inner.call, "permission", None) or getattr(inner.call, "feature", None)
        if isinstance(demand, Permission | Feature):
            yield demand
        yield from _demands_of(inner)


def _require_again(request: Request, demands: Iterable[Permission | Feature]) -> None:
    """Raise PermissionDenied or FeatureNotAvailable before a kept answer is shown.

    The caller may have lost since then what he had when it was made.
    """
    admitted = admission_of(request.scope)
    if admitted.principal is None or is_platform_operator(admitted.principal):
        return
    for demand in demands:
        if isinstance(demand, Permission):
            require_permission(admitted.principal, demand)
        elif admitted.tenant is not None:
            require_feature(admitted.tenant, demand)


async def _attempt(request: Request, compared: Callable[[Request], Awaitable[bytes]]) -> _Try | None:
    sent = request.headers.getlist("idempotency-key")
    admitted = admission_of(request.scope)
    if request.method != "POST" or not sent or admitted.principal is None:
        return None
    if len(sent) > 1 or not _KEY.fullmatch(sent[0]):
        unfit = {
            "field": "Idempotency-Key",
            "code": "key_invalid",
            "message": "takes 1 to 255 visible characters",
        }
        raise ValidationFailed([unfit])
    # Keyed, because a body may hold a password, which a bare hash would let a reader of the table guess.
    sent_before = request.scope["query_string"] + b"\n" + await compared(request)
    fingerprint = tenancy_of(request).wrapping.fingerprint(sent_before)
    key = KeyOfRequest(admitted.principal.id, request.method, request.scope["path"], sent[0], fingerprint)
    return _placed(request, key, admitted.principal, admitted.tenant)


def _placed(request: Request, key: KeyOfRequest, principal: Principal, tenant: Tenant | None) -> _Try:
    tenancy = tenancy_of(request)
    if principal.tenant_id is None or tenant is None:
        platform = platform_of(request)
        return _Try(key, PlatformAnswers(tenancy.wrapping), platform, platform.platform_transaction)
    open_own = partial(tenancy.database.transaction, tenant.id)
    return _Try(key, TenantAnswers(tenancy.tenant_keys), tenancy.database, open_own)


async def _lease(attempt: _Try) -> Response | None:
    """Take the key and return None, or return the first answer; refuse what contradicts it."""
    now = datetime.now(UTC)
    async with attempt.open() as session:
        row = await attempt.store.lease(session, attempt.request, now)
        if row is None:
            return None
        if row.fingerprint != attempt.request.fingerprint:
            raise IdempotencyKeyReused
        if row.state == "answered":
            return _replayed(await attempt.store.kept(session, attempt.request, row))
        if _is_expired(row, now) and await attempt.store.take_over(session, attempt.request, now):
            return None
    raise IdempotencyInProgress


def _is_expired(row: Row, now: datetime) -> bool:
    return row.leased_until < now


async def _first(attempt: _Try, request: Request, answer: Handler) -> Response:
    try:
        response = await answer(request)
    except ProblemError as refusal:
        await _keep_refusal(attempt, request, refusal)
        raise
    except BaseException:
        await asyncio.shield(_release(attempt))
        raise
    session = getattr(request.state, "session", None)
    if session is not None and session.bind is attempt.database.engine:
        await attempt.store.keep(session, attempt.request, _kept(response), _told_of(request))
    else:
        # The effect was made as another database role (an operator's, inside a tenant), which may not keep
        # this key.
        async with attempt.open() as own:
            await attempt.store.keep(own, attempt.request, _kept(response), _told_of(request))
    return response


async def _keep_refusal(attempt: _Try, request: Request, refusal: ProblemError) -> None:
    """Keep a refusal that depends on the tenant's state; free the key for one that a retry may not meet."""
    if refusal.status in _NOT_KEPT or refusal.status >= 500:
        await asyncio.shield(_release(attempt))
        return
    kept = _kept(problem_response(refusal, request))
    async with attempt.open() as session:
        await attempt.store.keep(session, attempt.request, kept, _told_of(request))


def _told_of(request: Request) -> UUID | None:
    """Return the tenant in whose rows the request has worked, if it has opened a session of one."""
    session = getattr(request.state, "session", None)
    return tenant_of(session) if isinstance(session, TenantSession) else None


async def _release(attempt: _Try) -> None:
    async with attempt.open() as session:
        await attempt.store.release(session, attempt.request)


@asynccontextmanager
async def _heartbeat(attempt: _Try) -> AsyncIterator[None]:
    """Keep the lease while the request runs, however long that is."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            async with attempt.open() as session:
                await attempt.store.prolong(session, attempt.request, datetime.now(UTC))

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def _kept(response: Response) -> KeptAnswer:
    headers = [(name, value) for name, value in response.headers.items() if name in _HEADERS_KEPT]
    return KeptAnswer(response.status_code, headers, bytes(response.body))


def _replayed(kept: KeptAnswer) -> Response:
    return Response(kept.body, kept.status, {**dict(kept.headers), "Idempotent-Replayed": "true"})
