"""Whether a process is alive, and whether it may be given traffic."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.fastapi import tenancy_of

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[None]]

# A part that says nothing for so many seconds is failing: a probe that hangs tells its caller nothing.
_PATIENCE: Final = 3.0

router = APIRouter(tags=["health"], route_class=DirectRoute)


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer as long as the event loop turns."""
    return {"status": "alive"}


@router.get("/readyz", summary="May the process be given traffic?")
async def readyz(request: Request) -> Response:
    """Answer 200 `ready` or `degraded` (Redis away, or a node of it), or 503 naming the parts that fail."""
    tenancy = tenancy_of(request)
    checks: Mapping[str, Check] = request.app.state.readiness
    parts = await verdicts(checks)
    nodes: dict[str, dict[str, int]] = {}
    if tenancy.redis is not None:
        parts["redis"] = "ok" if tenancy.redis.available else "degraded"
        # Where they are is told by logs and by `mis doctor`, not to whoever asks.
        answering = sum(tenancy.redis.nodes.values())
        nodes["redisNodes"] = {"answering": answering, "away": len(tenancy.redis.nodes) - answering}
    return readiness(parts, nodes)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the process's metrics in Prometheus' text format."""
    return Response(tenancy_of(request).metrics.render(), media_type="text/plain; version=0.0.4")


def readiness(parts: Mapping[str, str], more: Mapping[str, Any] = MappingProxyType({})) -> Response:
    """Return what a process answers whose parts have these verdicts; `more` is told beside them."""
    told = set(parts.values())
    status = "unready" if "failing" in told else "degraded" if "degraded" in told else "ready"
    body = {"status": status, "parts": dict(parts), **more}
    return JSONResponse(body, status_code=503 if status == "unready" else 200)


async def verdicts(checks: Mapping[str, Check]) -> dict[str, str]:
    """Return what came of each check, all of them made at once: `ok` or `failing`."""
    found = await asyncio.gather(*(_verdict(name, check) for name, check in checks.items()))
    return dict(zip(checks, found, strict=True))


async def _verdict(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await check()
    except Exception as error:
        log.warning("readiness.failing", part=name, error=repr(error))
        return "failing"
    return "ok"
