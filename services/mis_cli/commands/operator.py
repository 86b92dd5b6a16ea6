"""`mis operator`: the platform's staff."""

import sys
from typing import Annotated

import typer

from auth_service.operators.making import make_operator
from mis_cli.commands.options import DataDir
from mis_cli.deployment import find_deployment
from mis_cli.desk import Desk, act
from mis_cli.output import AsJson, refuse, tell
from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError

app = typer.Typer(no_args_is_help=True, help="The platform's staff.")


@app.callback()
def operator() -> None:
    """Keep `create` a command of its own name, although it is the only one."""


@app.command("create")
def create(
    email: Annotated[str, typer.Argument(help="The address to sign in with.", show_default=False)],
    name: Annotated[str, typer.Option(help="The operator's name.")] = "Operator",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, do not ask.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an operator; the password is asked for, or read from standard input."""
    deployment = find_deployment(data_dir)
    password = (
        sys.stdin.readline().rstrip("\r\n")
        if password_stdin
        else typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    )

    async def made(desk: Desk) -> str:
        # Only the auth role reaches operators.
        database = Database(deployment.auth_database_url, pool_size=1)
        await database.start()
        try:
            async with database.platform_transaction() as session:
                row = await make_operator(session, desk.passwords, email=email, name=name, password=password)
                desk.caller.record_on_platform(session, "operator.created", resource=f"operators/{row.id}")
        finally:
            await database.stop()
        return str(row.id)

    try:
        operator_id = act(deployment, made)
    except ProblemError as error:
        raise refuse(error, as_json=as_json) from error
    tell({"id": operator_id, "email": email}, f"Made operator {email} ({operator_id}).", as_json=as_json)
