"""`mis describe`: the suite's interface as files, without anything to connect to."""

import json
from pathlib import Path

from tests.mis_cli.command_line import CommandLine
from tests.suite import Suite


async def test_what_is_described_is_what_the_gateway_shows(
    mis: CommandLine, suite: Suite, tmp_path: Path
) -> None:
    result = await mis("describe", tmp_path / "description", env={})
    assert result.exit_code == 0, result.stderr
    described = json.loads((tmp_path / "description" / "openapi.json").read_text())
    shown = (await suite.client.get("/openapi.json")).json()
    assert described == shown
    assert {"/api/v1/tenants", "/api/v1/auth/login", "/api/v1/users"} <= set(described["paths"])
    assert "/openapi.json" in (tmp_path / "description" / "docs.html").read_text()
