"""`mis doctor`: looks at everything a deployment stands on and says what to do."""

import asyncio
import sys
from collections import Counter
from dataclasses import asdict

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mis_cli.commands.options import DataDir
from mis_cli.deployment import recorded_settings
from mis_cli.doctor.examination import examine
from mis_cli.doctor.findings import Finding, Status
from mis_cli.exits import REFUSED
from mis_cli.output import AsJson
from mis_tenancy.logging import configure_logging

_COLOUR = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Look at settings, roles, schema, isolation, keys, Redis, store, mail, disk, names and the worker.

    Reads the services' settings, with MIS_MIGRATION_DATABASE_URL besides; where there are none, those of a
    running `mis run`. Exit code 1 says that something must be put right; a warning alone is 0.
    """
    # What the parts log while they are looked at is in the findings.
    configure_logging("mis", level="CRITICAL", stream=sys.stderr)
    findings = asyncio.run(_examine(recorded_settings(data_dir), as_json=as_json))
    counts = Counter(finding.status for finding in findings)
    if not as_json:
        _show(findings)
        typer.echo(", ".join(f"{counts[status]} {status.value}" for status in Status))
    if counts[Status.FAIL]:
        raise typer.Exit(REFUSED)


async def _examine(given: dict[str, object], *, as_json: bool) -> list[Finding]:
    findings = []
    async for finding in examine(given):
        findings.append(finding)
        if as_json:
            typer.echo(msgspec.json.encode(asdict(finding)).decode())
    return findings


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for one in findings:
        colour = _COLOUR[one.status]
        # As text, because a name in brackets would be read as a style.
        table.add_row(Text(one.status.value, colour), Text(one.name), Text(one.detail), Text(one.advice))
    Console().print(table)
