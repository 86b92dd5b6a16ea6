"""`mis operator`: the platform's staff."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.operator_mfa.resetting import reset_factor
from auth_service.operators.making import make_operator
from mis_cli.commands.options import DataDir
from mis_cli.deployment import Deployment, find_deployment
from mis_cli.desk import Desk, act
from mis_cli.output import AsJson, refuse, tell
from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError

app = typer.Typer(no_args_is_help=True, help="The platform's staff.")


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
        async with _operators(deployment) as session:
            row = await make_operator(session, desk.passwords, email=email, name=name, password=password)
            desk.caller.record_on_platform(session, "operator.created", resource=f"operators/{row.id}")
        return str(row.id)

    try:
        operator_id = act(deployment, made)
    except ProblemError as error:
        raise refuse(error, as_json=as_json) from error
    tell({"id": operator_id, "email": email}, f"Made operator {email} ({operator_id}).", as_json=as_json)


@app.command("reset-mfa")
def reset_mfa(
    email: Annotated[str, typer.Argument(help="The operator's address.", show_default=False)],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take the authenticator app and the recovery codes of an operator away who has lost them.

    Their password alone signs in again, and every session of theirs ends.
    """
    deployment = find_deployment(data_dir)

    async def reset(desk: Desk) -> str:
        async with _operators(deployment) as session:
            operator_id = await reset_factor(session, email)
            desk.caller.record_on_platform(
                session, "operator.totp_reset", resource=f"operators/{operator_id}"
            )
        return str(operator_id)

    try:
        operator_id = act(deployment, reset)
    except ProblemError as error:
        raise refuse(error, as_json=as_json) from error
    said = f"{email} signs in with the password alone again. Ask them to set an app up anew."
    tell({"id": operator_id, "email": email}, said, as_json=as_json)


@asynccontextmanager
async def _operators(deployment: Deployment) -> AsyncIterator[AsyncSession]:
    """Yield a session of the auth role, which alone reaches operators; commit at the end."""
    database = Database(deployment.auth_database_url, pool_size=1)
    await database.start()
    try:
        async with database.platform_transaction() as session:
            yield session
    finally:
        await database.stop()
