"""What commands print: sentences for people, and with `--json` one JSON document a line for machines."""

from typing import Annotated, Any

import msgspec
import typer

from mis_cli.exits import REFUSED
from mis_http.problems import bare_problem
from mis_tenancy.errors import ProblemError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one document a line.")]


def tell(document: Any, sentence: str, *, as_json: bool) -> None:
    """Print the document or the sentence."""
    typer.echo(msgspec.json.encode(document).decode() if as_json else sentence)


def refuse(error: ProblemError, *, as_json: bool) -> typer.Exit:
    """Print why something was refused and return the exit to raise."""
    if as_json:
        typer.echo(msgspec.json.encode({"problem": bare_problem(error)}).decode())
    else:
        typer.echo(f"mis: {sentence_of(error)}", err=True)
    return typer.Exit(REFUSED)


def sentence_of(error: ProblemError) -> str:
    """Return the refusal in one line, with each field that does not fit."""
    fields = [f"{one['field']}: {one['message']}" for one in error.members.get("errors", ())]
    return "; ".join([f"{error.code}: {error}", *fields])
