"""`mis operator`: the platform's staff."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.operator_mfa.resetting import reset_factor
from auth_service.operators.making import make_operator
from auth_service.operators.upkeep import replace_password, set_status
from mis_cli.commands.options import DataDir
from mis_cli.deployment import find_deployment
from mis_cli.desk import Desk, act
from mis_cli.output import AsJson, refuse, tell
from mis_tenancy.database import Database
from mis_tenancy.errors import ProblemError

app = typer.Typer(no_args_is_help=True, help="The platform's staff.")


Email = Annotated[
    str, typer.Argument(help="The address that the operator signs in with.", show_default=False)
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, do not ask.")
]
Work = Callable[[AsyncSession, Desk], Awaitable[UUID]]


@app.command("create")
def create(
    email: Email,
    name: Annotated[str, typer.Option(help="The operator's name.")] = "Operator",
    password_stdin: PasswordStdin = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an operator; the password is asked for, or read from standard input."""
    password = _password(from_stdin=password_stdin)

    async def made(session: AsyncSession, desk: Desk) -> UUID:
        row = await make_operator(session, desk.passwords, email=email, name=name, password=password)
        return row.id

    operator_id = _act(data_dir, "operator.created", made, as_json=as_json)
    tell({"id": operator_id, "email": email}, f"Made operator {email} ({operator_id}).", as_json=as_json)


@app.command("set-password")
def set_password(
    email: Email, password_stdin: PasswordStdin = False, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Give an operator another password, which ends every session of theirs."""
    password = _password(from_stdin=password_stdin)

    async def replaced(session: AsyncSession, desk: Desk) -> UUID:
        return await replace_password(session, desk.passwords, email, password)

    operator_id = _act(data_dir, "operator.password_set", replaced, as_json=as_json)
    tell({"id": operator_id, "email": email}, f"{email} has another password.", as_json=as_json)


@app.command("disable")
def disable(email: Email, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let an operator go: they sign in no more, and every session and visit of theirs ends."""

    async def gone(session: AsyncSession, desk: Desk) -> UUID:
        return await set_status(session, email, active=False)

    operator_id = _act(data_dir, "operator.disabled", gone, as_json=as_json)
    tell({"id": operator_id, "email": email}, f"{email} is no operator any more.", as_json=as_json)


@app.command("enable")
def enable(email: Email, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let an operator back in who was disabled."""

    async def back(session: AsyncSession, desk: Desk) -> UUID:
        return await set_status(session, email, active=True)

    operator_id = _act(data_dir, "operator.enabled", back, as_json=as_json)
    tell({"id": operator_id, "email": email}, f"{email} is an operator again.", as_json=as_json)


@app.command("reset-mfa")
def reset_mfa(email: Email, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Take the authenticator app and the recovery codes of an operator away who has lost them.

    Their password alone signs in again, and every session of theirs ends.
    """

    async def reset(session: AsyncSession, desk: Desk) -> UUID:
        return await reset_factor(session, email)

    operator_id = _act(data_dir, "operator.totp_reset", reset, as_json=as_json)
    said = f"{email} signs in with the password alone again. Ask them to set an app up anew."
    tell({"id": operator_id, "email": email}, said, as_json=as_json)


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return asked


def _act(data_dir: Path | None, action: str, work: Work, *, as_json: bool) -> str:
    """Do `work` to an operator as the auth role, which alone reaches them; record it, return whose."""
    deployment = find_deployment(data_dir)

    async def at_desk(desk: Desk) -> str:
        database = Database(deployment.auth_database_url, pool_size=1)
        await database.start()
        try:
            async with database.platform_transaction() as session:
                operator_id = await work(session, desk)
                desk.caller.record_on_platform(session, action, resource=f"operators/{operator_id}")
        finally:
            await database.stop()
        return str(operator_id)

    try:
        return act(deployment, at_desk)
    except ProblemError as error:
        raise refuse(error, as_json=as_json) from error
