"""Makes a server fit that has neither the suite's roles nor its database, as after the loss of a machine.

Roles that are there are left as they are. One that is made gets the password that its URL has, and what the
server is sent, and may write into its log, is only what it keeps of a password itself (RFC 5802, RFC 7677).
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any, Final

import asyncpg
from sqlalchemy import make_url

from mis_cli.backups.errors import BackupRefused
from mis_cli.embedded import ROLES
from mis_cli.migrations import ROLES_FILE

_ROUNDS: Final = 4096
_MISSING: Final = """
select array(select wanted from unnest($1::text[]) wanted
              where not exists (select from pg_roles where rolname = wanted)) as roles,
       not exists (select from pg_database where datname = $2) as database
"""


async def make_fit(superuser_url: str, urls: Mapping[str, str | None]) -> None:
    """Make the owner's database and the roles that are missing; `urls` are the roles' own, by their names.

    Raise BackupRefused, before anything is made, where a role that is missing has no URL with a password.
    """
    name = make_url(urls["mis_owner"] or "").database
    if not name:
        raise BackupRefused("MIS_MIGRATION_DATABASE_URL: it has to name the database that is to be made.")
    connection = await asyncpg.connect(superuser_url, timeout=10)
    try:
        missing = await connection.fetchrow(_MISSING, list(ROLES), name)
        passwords = {role: _password(role, urls.get(role)) for role in missing["roles"]}
        if missing["database"]:
            # A name cannot be a parameter here, and quoting it is the server's own function's to do.
            await connection.execute(
                await connection.fetchval("select format('create database %I', $1::text)", name)
            )
    finally:
        await connection.close()
    await _make_roles(superuser_url, name, passwords)


async def _make_roles(superuser_url: str, database: str, passwords: Mapping[str, str]) -> None:
    words = [f"alter role {role} password '{verifier(word)}';" for role, word in passwords.items()]
    connection: Any = await asyncpg.connect(superuser_url, database=database, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("\n".join([ROLES_FILE.read_text(), *words]))
    finally:
        await connection.close()


def _password(role: str, url: str | None) -> str:
    """Return the password that the role is to get; raise BackupRefused where there is none."""
    setting = f"MIS_{role.removeprefix('mis_').upper()}_DATABASE_URL"
    setting = {"mis_owner": "MIS_MIGRATION_DATABASE_URL", "mis_app": "MIS_DATABASE_URL"}.get(role, setting)
    password = None if url is None else make_url(url).password
    if not password:
        raise BackupRefused(
            f"The server lacks the role {role}. Set {setting} to the URL that it will have, with a password, "
            "and the role is made with it."
        )
    if not str(password).isascii():
        raise BackupRefused(f"{setting}: a password that is made here must be of ASCII. Choose another one.")
    return str(password)


def verifier(password: str) -> str:
    """Return what Postgres keeps of a password of ASCII instead of it, with a salt of its own."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    spelled = [base64.b64encode(one).decode() for one in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ROUNDS}:{spelled[0]}${spelled[1]}:{spelled[2]}"
