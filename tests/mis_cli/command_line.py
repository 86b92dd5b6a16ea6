"""`mis` as tests call it: in process, on the suite's own deployment."""

import asyncio
import json
from typing import Any

from typer.testing import CliRunner, Result

from mis_cli.main import app
from tests.servers import TestServers
from tests.suite import MASTER_KEYS, PUBLIC_URL

RUNNER = CliRunner()


def environment(servers: TestServers) -> dict[str, str]:
    """Return the settings of the suite's deployment."""
    urls = servers.database()
    return {
        "MIS_DATABASE_URL": urls.app,
        "MIS_AUTH_DATABASE_URL": urls.auth,
        "MIS_PLATFORM_DATABASE_URL": urls.platform,
        "MIS_REDIS_URL": servers.redis_url,
        "MIS_PUBLIC_URL": PUBLIC_URL,
        "MIS_BASE_DOMAINS": "mis.local,localhost",
        "MIS_MASTER_KEYS": MASTER_KEYS,
    }


class CommandLine:
    """Runs `mis` with an environment."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    async def __call__(self, *words: object, stdin: str = "", env: dict[str, str] | None = None) -> Result:
        """Run one command, in a thread, because it runs an event loop of its own."""
        given = self.env if env is None else env
        arguments = [str(word) for word in words]
        return await asyncio.to_thread(lambda: RUNNER.invoke(app, arguments, input=stdin, env=given))

    async def json(self, *words: object, code: int = 0, stdin: str = "") -> list[Any]:
        """Run a command for machines and return its documents; its exit code must be `code`."""
        result = await self(*words, "--json", stdin=stdin)
        assert result.exit_code == code, (result.output, result.stderr, result.exception)
        return [json.loads(line) for line in result.stdout.splitlines()]
