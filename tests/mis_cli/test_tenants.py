"""`mis tenants`: the API's rules and trail on the command line, exit codes that mean something."""

import asyncio
import json
import os
import sys
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from mis_cli.desk import COMMAND_LINE
from mis_cli.exits import AWAY, CANNOT_START, REFUSED
from mis_cli.running.provisioning import MASTER_KEYS as KEYS_FILE
from tests.answers import eventually, fine
from tests.mis_cli.command_line import CommandLine
from tests.suite import MASTER_KEYS, PASSWORD, Suite
from tests.tenant_service.job_queue import platform_of
from tests.tenant_service.requests import TENANTS, audit_rows, new_slug


async def test_a_tenant_is_made_as_the_api_makes_it_with_its_owner(mis: CommandLine, suite: Suite) -> None:
    slug = new_slug("cli")
    owner = ("--owner-email", f"owner@{slug}.example", "--owner-password-stdin")
    words = ("tenants", "create", "Made Here", "--slug", slug, "--plan", "premium", *owner)
    (made,) = await mis.json(*words, stdin=f"{PASSWORD}\n")
    assert (made["slug"], made["plan"], made["maxUsers"], made["status"]) == (slug, "premium", 1000, "active")
    assert fine(await suite.client.get(f"{TENANTS}/{slug}", headers=suite.operator)) == made
    assert (await suite.sign_in(slug, f"owner@{slug}.example", PASSWORD)).role == "owner"


async def test_the_link_of_an_owner_without_a_password_is_told(mis: CommandLine) -> None:
    words = ("tenants", "create", "Linked", "--owner-email", "owner@linked.example", "--slug")
    (made,) = await mis.json(*words, new_slug("cli"))
    assert made["ownerInvitation"].startswith("http")
    told = await mis(*words, new_slug("cli"))
    assert "The owner chooses a password at http" in told.stdout


async def test_what_is_done_is_in_both_logs_under_the_command_lines_name(
    mis: CommandLine, suite: Suite
) -> None:
    """Catalogue 128."""
    (made,) = await mis.json("tenants", "create", "Logged", "--slug", new_slug("cli"))
    await mis.json("tenants", "suspend", made["id"], "--reason", "They asked.")
    rows = await audit_rows(suite, UUID(made["id"]))
    assert [(row["action"], row["actor"]) for row in rows] == [
        ("tenant.suspended", str(COMMAND_LINE)),
        ("tenant.created", str(COMMAND_LINE)),
    ]
    async with platform_of(suite).platform_transaction() as session:
        statement = text("select actor, user_agent from platform_audit_logs where tenant_id = :id")
        logged = (await session.execute(statement, {"id": made["id"]})).all()
    assert [row.actor for row in logged] == [COMMAND_LINE] * 2
    assert all(row.user_agent.startswith("mis (") for row in logged)


async def test_states_change_and_the_services_hear_of_it_within_a_second(
    mis: CommandLine, suite: Suite
) -> None:
    tenant = await suite.tenant()

    async def ask() -> object:
        return await suite.client.get("/api/v1/users", headers=tenant.auth)

    fine(await ask())  # type: ignore[arg-type]
    await mis.json("tenants", "suspend", tenant.slug, "--reason", "They asked.")
    await eventually(ask, lambda answer: answer.status_code == 403)  # type: ignore[arg-type]
    (opened,) = await mis.json("tenants", "reactivate", tenant.id)
    assert opened["status"] == "active"
    (moved,) = await mis.json("tenants", "migrate", tenant.slug, "--plan", "premium")
    assert (moved["plan"], moved["maxUsers"]) == ("premium", 1000)
    (ended,) = await mis.json("tenants", "delete", tenant.slug, "--grace-days", 2)
    assert ended["status"] == "pending_deletion"
    (back,) = await mis.json("tenants", "restore", tenant.slug)
    assert back["status"] == "active"


async def test_a_refusal_says_what_and_why_and_exits_with_1(mis: CommandLine, suite: Suite) -> None:
    tenant = await suite.tenant()
    again = await mis("tenants", "create", "Again", "--slug", tenant.slug)
    assert (again.exit_code, again.stdout) == (REFUSED, "")
    assert again.stderr.startswith("mis: slug_taken: ")
    unfit = await mis("tenants", "create", "Unfit", "--slug", "no slug!")
    assert unfit.exit_code == REFUSED
    assert "slug: takes 3 to 63 letters" in unfit.stderr
    (told,) = await mis.json("tenants", "reactivate", tenant.id, code=REFUSED)
    assert (told["problem"]["code"], told["problem"]["tenantStatus"]) == ("tenant_state_conflict", "active")
    (unknown,) = await mis.json("tenants", "restore", "nobody-of-that-name", code=REFUSED)
    assert unknown["problem"]["code"] == "tenant_not_found"


async def test_tenants_are_listed_newest_first_and_narrowed(mis: CommandLine, suite: Suite) -> None:
    mark = new_slug("list")
    made = [
        (await mis.json("tenants", "create", f"{mark} {n}", "--slug", f"{mark}-{n}", "--plan", plan))[0]
        for n, plan in enumerate(("basic", "premium", "basic"))
    ]
    found = await mis.json("tenants", "list", "--q", mark)
    assert [one["id"] for one in found] == [one["id"] for one in reversed(made)]
    assert len(await mis.json("tenants", "list", "--q", mark, "--plan", "basic")) == 2
    assert [one["id"] for one in await mis.json("tenants", "list", "--q", mark, "--limit", 1)] == [
        made[2]["id"]
    ]
    told = await mis("tenants", "list", "--q", mark, "--plan", "premium")
    assert told.stdout.split()[:3] == [f"{mark}-1", "premium", "active"]
    assert len((await mis("tenants", "list", "--limit", 205)).stdout.splitlines()) <= 205


async def test_without_settings_and_without_a_running_suite_nothing_is_begun(
    mis: CommandLine, tmp_path: Path
) -> None:
    result = await mis("tenants", "list", "--data-dir", tmp_path, env={"MIS_PLATFORM_DATABASE_URL": ""})
    assert result.exit_code == CANNOT_START
    assert "MIS_PLATFORM_DATABASE_URL is not set" in result.stderr
    half = {name: value for name, value in mis.env.items() if name != "MIS_MASTER_KEYS"}
    result = await mis("tenants", "list", env=half)
    assert (result.exit_code, "MIS_MASTER_KEYS" in result.stderr) == (CANNOT_START, True)


async def test_beside_a_running_suite_its_data_directory_is_enough(mis: CommandLine, tmp_path: Path) -> None:
    record = {
        "baseUrl": mis.env["MIS_PUBLIC_URL"],
        "databaseUrl": mis.env["MIS_DATABASE_URL"],
        "authDatabaseUrl": mis.env["MIS_AUTH_DATABASE_URL"],
        "platformDatabaseUrl": mis.env["MIS_PLATFORM_DATABASE_URL"],
        "redisUrl": mis.env["MIS_REDIS_URL"],
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / KEYS_FILE[0]).write_text(json.dumps({KEYS_FILE[1]: MASTER_KEYS}))
    slug = new_slug("cli")
    result = await mis("tenants", "create", "Beside", "--slug", slug, "--data-dir", tmp_path, env={})
    assert (result.exit_code, slug in result.stdout) == (0, True), result.stderr


async def test_a_database_that_is_away_is_told_apart_from_a_refusal(mis: CommandLine) -> None:
    away = "postgresql://mis_app:secret@127.0.0.1:1/mis"
    result = await mis("tenants", "list", env=mis.env | {"MIS_DATABASE_URL": away})
    assert result.exit_code == AWAY
    assert "secret" not in result.output + result.stderr
    wrong = mis.env["MIS_DATABASE_URL"].replace("mis_app:", "mis_app:wrong")
    result = await mis("tenants", "list", env=mis.env | {"MIS_DATABASE_URL": wrong})
    assert result.exit_code == AWAY, result.exception


async def test_as_a_process_it_prints_nothing_but_json_for_machines(mis: CommandLine) -> None:
    words = ("tenants", "create", "Process", "--slug", new_slug("cli"), "--json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mis_cli", *words),
        env=os.environ | mis.env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["slug"] == words[4]


@pytest.mark.parametrize(
    "command", ["create", "list", "suspend", "reactivate", "migrate", "delete", "restore", "import"]
)
async def test_each_command_explains_itself(mis: CommandLine, command: str) -> None:
    result = await mis("tenants", command, "--help")
    assert (result.exit_code, "--json" in result.stdout) == (0, True)
