"""How a service becomes an application: its routers behind the tenant middleware, its lifespan."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from mis_http.limits import BodyLimit
from mis_http.problems import install_problem_handlers
from mis_http.routes.head import HeadAsGet
from mis_http.service import health
from mis_http.service.authorization import Described
from mis_http.service.documentation import documentation_router
from mis_http.service.settings import ServiceSettings
from mis_http.service.tracing import tracer_of
from mis_tenancy.database import Database
from mis_tenancy.logging import configure_logging
from mis_tenancy.routes import RoutePolicy, suite_policy
from mis_tenancy.tenancy import Tenancy

Start = Callable[[FastAPI], Awaitable[None]]


def compose(
    settings: ServiceSettings,
    *,
    service: str,
    title: str,
    routers: Sequence[APIRouter],
    policy: RoutePolicy | None = None,
    roles: Mapping[str, str | None] | None = None,
    body_limits: Mapping[str, int | None] | None = None,
    on_start: Sequence[Start] = (),
    outermost: Sequence[Middleware] = (),
) -> FastAPI:
    """Return the application of `service`.

    `roles` maps names (`platform`, `auth`) to database URLs; each becomes a started `Database` on
    `app.state`. `on_start` runs once those are up, `outermost` stands outside of the tenant middleware.
    `app.state` then holds `tenancy`, `settings`, `readiness` and the databases.
    """
    configure_logging(service)
    tracer = tracer_of(settings, service)
    tenancy = Tenancy(settings.tenancy(service), tracer)
    databases = {
        name: Database(url, actor_keys=tenancy.actor_keys)
        for name, url in (roles or {}).items()
        if url is not None
    }
    if tracer is not None:
        for database in databases.values():
            tracer.watch(database)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(tenancy.running())
            for database in databases.values():
                database.on_news = tenancy.database.on_news
                database.on_wake = tenancy.database.on_wake
                database.on_write = tenancy.database.on_write
                stack.push_async_callback(database.stop)
                await database.start()
            for start in on_start:
                await start(app)
            # What the process is made of stays for good: without this each full collection walks all of it,
            # which holds every request up for tens of milliseconds.
            gc.collect()
            gc.freeze()
            yield

    own = (health.router, documentation_router(title))
    rules = policy or suite_policy()
    app: FastAPI = Described(
        rules,
        title=title,
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirect would answer for a path that the policy has not judged.
        redirect_slashes=False,
        # A router that is included is asked twice which of its routes a request is for.
        routes=[route for router in (*routers, *own) for route in router.routes],
        middleware=[
            *outermost,
            tenancy.middleware(rules, routes=lambda: app.openapi()["paths"]),
            Middleware(BodyLimit, by_suffix=body_limits),
            Middleware(HeadAsGet, own=lambda: _with_head(app.openapi()["paths"])),
        ],
    )
    app.state.tenancy = tenancy
    app.state.settings = settings
    app.state.readiness = _readiness(tenancy, databases)
    for name, database in databases.items():
        setattr(app.state, name, database)
    install_problem_handlers(app)
    return app


def _with_head(paths: Mapping[str, Mapping[str, object]]) -> list[str]:
    return [path for path, methods in paths.items() if "head" in methods]


def _readiness(tenancy: Tenancy, databases: Mapping[str, Database]) -> dict[str, health.Check]:
    checks: dict[str, health.Check] = {"postgres": lambda: _answers(tenancy.database)}
    checks |= {f"postgres_{name}": lambda one=database: _answers(one) for name, database in databases.items()}  # type: ignore[misc]
    checks["revocations"] = tenancy.feed.confirm
    return checks


async def _answers(database: Database) -> None:
    async with database.system_transaction() as system:
        await system.fetch("select 1")
