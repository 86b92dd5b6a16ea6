"""SQLAlchemy's engine for a URL whose parameters the driver reads itself, as other programs do.

SQLAlchemy would hand each to the driver as an argument of its name, and there is none called `sslmode`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def engine_of(url: URL, connect_args: Mapping[str, Any] | None = None, **options: Any) -> AsyncEngine:
    """Return an engine; `connect_args` are the driver's and the dialect's, `options` the engine's own."""
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg", query={}),
        connect_args={**(connect_args or {}), "dsn": dsn_of(url)},
        **options,
    )


def dsn_of(url: URL) -> str:
    """Return the URL as the driver reads it, password and all."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
