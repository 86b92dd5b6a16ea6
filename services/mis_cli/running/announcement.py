"""What `mis run` tells once it serves: where, how to sign in, and three commands to try it with."""

import json
import shlex
from collections.abc import Awaitable, Callable, Sequence

import typer

from mis_cli.running.launcher import RunningSuite
from mis_cli.running.run_record import DemoTenant

# Fills a running suite through its public API, showing its progress, and returns what can be signed in to.
Seed = Callable[[RunningSuite], Awaitable[Sequence[DemoTenant]]]

_TOKEN = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"token\"])'"  # noqa: S105 - a command.


async def announce(suite: RunningSuite, seeds: Sequence[Seed]) -> None:
    """Record the running suite, seed it, and print how to use it; the record first, for those who wait."""
    suite.record.write()
    provisions = suite.provisions
    typer.echo(f"\nServing at {suite.base_url}; its API is described at {suite.base_url}/docs.")
    typer.echo(f"Ctrl-C stops it. The log is {suite.record.path.parent / 'mis.log'}.\n")
    demo = [tenant for seed in seeds for tenant in await seed(suite)]
    suite.record.write(demo)
    typer.echo(f"  {'operator':<18}{provisions.operator_email}  {provisions.operator_password}")
    for tenant in demo:
        typer.echo(f"  {tenant.slug:<18}{tenant.email}  {tenant.password}  ({tenant.plan})")
    typer.echo("\nTry it:\n")
    for line in curl_lines(suite, demo):
        typer.echo(f"  {line}")


def curl_lines(suite: RunningSuite, demo: Sequence[DemoTenant]) -> list[str]:
    """Return three lines for a shell: sign in, read what one may, be refused or answered without a token.

    The first sets what the documentation's pages go on with, for the tenant whose plan has everything.
    """
    base = f"BASE={suite.base_url}"
    if demo:
        other, first = demo[0], demo[-1]
        users = 'curl -s "$BASE/api/v1/users?limit=3" -H "Authorization: Bearer $TOKEN"'
        body = {"email": first.email, "password": first.password, "tenantSlug": first.slug}
        return [
            f"{base} TENANT={first.id}; {_sign_in('auth/login', body)}",
            users,
            f'{users} -H "X-Tenant-Slug: {other.slug}"',
        ]
    operator = {
        "email": suite.provisions.operator_email,
        "password": suite.provisions.operator_password,
    }
    return [
        f"{base}; {_sign_in('auth/operator/login', operator)}",
        'curl -s "$BASE/api/v1/tenants" -H "Authorization: Bearer $TOKEN"',
        "curl -s $BASE/api/v1/plans",
    ]


def _sign_in(route: str, body: dict[str, str]) -> str:
    data, kind = shlex.quote(json.dumps(body)), "Content-Type: application/json"
    return f'TOKEN=$(curl -s "$BASE/api/v1/{route}" -H "{kind}" -d {data} | {_TOKEN})'
