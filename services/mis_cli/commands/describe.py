"""`mis describe`: the suite's interface as files, for a gateway that only passes requests on."""

import asyncio
import base64
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from mis_cli.gateway import Gateway
from mis_cli.serving.composition import compose
from mis_http.settings import ServiceSettings

_PAGES: Final = {"/openapi.json": "openapi.json", "/docs": "docs.html"}


def describe(
    directory: Annotated[Path, typer.Argument(help="Where openapi.json and docs.html go.")],
) -> None:
    """Write the merged description of all services, as `mis run` shows it; nothing is connected to."""
    directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(_write(compose(_unconnected()), directory))
    typer.echo(f"The description is in {directory}.", err=True)


def _unconnected() -> ServiceSettings:
    """Return settings that let the services be composed; a description depends on none of them."""
    database = "postgresql://{}@localhost/mis_db"
    return ServiceSettings.read(
        database_url=database.format("mis_app"),
        auth_database_url=database.format("mis_auth"),
        platform_database_url=database.format("mis_platform"),
        storage_url="s3://mis/objects",
        public_url="http://localhost:8000",
        master_keys=f"described:{base64.b64encode(bytes(32)).decode()}",
        spool_dir=Path("spool"),
        traces_url=None,
    )


async def _write(gateway: Gateway, directory: Path) -> None:
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path, name in _PAGES.items():
            answer = (await client.get(path)).raise_for_status()
            (directory / name).write_bytes(answer.content)
