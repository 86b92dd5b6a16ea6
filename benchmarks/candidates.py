"""The applications that are measured: the suite through each door, and the same route without any tenancy."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final
from uuid import UUID

import asyncpg
from fastapi import APIRouter, FastAPI, Header, Response
from sqlalchemy import Row, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from starlette.types import ASGIApp

from mis_http.pages import Paged
from mis_http.routes.direct_route import DirectRoute
from mis_http.service.composition import compose
from mis_http.service.settings import ServiceSettings
from mis_models.accounts import UserRow
from mis_tenancy.fastapi import Session
from user_service.app import create_app
from user_service.users.dependencies import CanReadUsers, Wanted
from user_service.users.listing import encoded
from user_service.users.repository import page_steps, page_through_session
from user_service.users.schemas import UserOut

PATH: Final = "/api/v1/users"
STATEMENT_DOOR: Final = "suite, statement door"
ORM_DOOR: Final = "suite, ORM door"
PLAIN_ORM: Final = "no tenancy, FastAPI + ORM"
PLAIN_DRIVER: Final = "no tenancy, FastAPI + asyncpg"


def shown(rows: Sequence[Row[Any]]) -> list[UserOut]:
    """Return rows of the page's statement as response models."""
    return [UserOut.model_validate(row._asdict()) for row in rows]


def through_orm(settings: ServiceSettings) -> ASGIApp:
    """Return the user list behind the whole middleware, read in a TenantSession."""
    router = APIRouter(route_class=DirectRoute)

    @router.get(PATH)
    async def list_users(session: Session, by: CanReadUsers, wanted: Wanted, page: Paged) -> list[UserOut]:
        return shown((await page_through_session(session, wanted, page))[: page.limit])

    return compose(settings, service="bench-orm", title="ORM door", routers=[router])


def without_tenancy_orm(settings: ServiceSettings) -> ASGIApp:
    """Return the same list from a stock engine with a hand-written filter, and nothing else."""
    url = make_url(settings.platform_database_url or "").set(drivername="postgresql+asyncpg")
    sessions = async_sessionmaker(create_async_engine(url, pool_size=8, max_overflow=0))
    app = FastAPI()

    @app.get(PATH)
    async def list_users(
        wanted: Wanted, page: Paged, x_tenant_id: Annotated[UUID, Header()]
    ) -> list[UserOut]:
        async with sessions() as session:
            statement = next(page_steps(wanted, page)).statement.where(UserRow.tenant_id == x_tenant_id)
            return shown((await session.execute(statement)).all()[: page.limit])

    return app


def over_driver_pool(settings: ServiceSettings) -> tuple[FastAPI, list[asyncpg.Pool]]:
    """Return an application without routes, and the list that holds its driver pool once it has started."""
    pool: list[asyncpg.Pool] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(settings.platform_database_url, min_size=0, max_size=8) as opened:
            pool.append(opened)
            yield

    return FastAPI(lifespan=lifespan), pool


def without_tenancy_driver(settings: ServiceSettings) -> ASGIApp:
    """Return the same list as SQL text over a stock driver pool, serialised as the suite does."""
    app, pool = over_driver_pool(settings)
    columns = ", ".join(column.name for column in select(*_columns()).selected_columns)
    sql = f"select {columns} from users where tenant_id = $1 order by id desc limit $2"  # noqa: S608

    @app.get(PATH)
    async def list_users(page: Paged, x_tenant_id: Annotated[UUID, Header()]) -> Response:
        rows = await pool[0].fetch(sql, x_tenant_id, page.limit + 1)
        return Response(encoded(rows[: page.limit]), media_type="application/json")

    return app


def _columns() -> list[Any]:
    names = (
        "id",
        "email",
        "name",
        "role",
        "status",
        "attributes",
        "created_at",
        "updated_at",
        "last_login_at",
    )
    return [getattr(UserRow, name) for name in names]


CANDIDATES: Final[dict[str, Callable[[ServiceSettings], ASGIApp]]] = {
    PLAIN_ORM: without_tenancy_orm,
    PLAIN_DRIVER: without_tenancy_driver,
    ORM_DOOR: through_orm,
    STATEMENT_DOOR: create_app,
}


def settings_from(text: str) -> ServiceSettings:
    """Return the settings that the harness handed over as JSON."""
    return ServiceSettings.read(**json.loads(text))
