"""A tenant service that creates one tenant in a process of its own, so that a test can kill it.

What it needs is imported once; each line of its input is a creation to fork for.
"""

import asyncio
import json
import os
import sys
from typing import Any

import httpx

from mis_http.service.settings import ServiceSettings
from tenant_service.app import create_app


async def create(settings: dict[str, Any], headers: dict[str, str], body: dict[str, Any]) -> None:
    app = create_app(ServiceSettings.read(**settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://child") as client,
    ):
        await client.post("/api/v1/tenants", json=body, headers=headers)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            # Its log lines are not what the test waits for.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            asyncio.run(create(**json.loads(line)))
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitpid(child, 0)[1]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
