"""`mis operator`, `mis jobs` and `mis seed`."""

import json
import secrets
from pathlib import Path

import pytest

from mis_cli.demo import seed as seeding
from mis_cli.desk import COMMAND_LINE
from mis_cli.exits import AWAY, CANNOT_START, REFUSED
from mis_tenancy.identifiers import new_id
from tests.answers import bearer, fine, refused
from tests.auth_service.operators import MFA, as_operator, new_operator, operator_login, operator_with_app
from tests.auth_service.requests import platform_events
from tests.integration.wire import served
from tests.mis_cli.command_line import CommandLine
from tests.suite import OPERATOR_EMAIL, Suite
from tests.tenant_service.job_queue import add_dead_job

GOOD = "purple-elephants-9-dancing"


def an_address() -> str:
    return f"op-{secrets.token_hex(5)}@platform.example"


async def test_an_operator_is_made_and_signs_in(mis: CommandLine, suite: Suite) -> None:
    email = an_address()
    words = ("operator", "create", email, "--name", "Opal", "--password-stdin")
    (made,) = await mis.json(*words, stdin=f"{GOOD}\n")
    assert made["email"] == email
    body = {"email": email, "password": GOOD}
    fine(await suite.post_anonymously("/api/v1/auth/operator/login", body))
    again = await mis(*words, stdin=f"{GOOD}\n")
    assert (again.exit_code, "operator_taken" in again.stderr) == (REFUSED, True)


async def test_an_operator_who_lost_their_app_signs_in_with_the_password_again(
    mis: CommandLine, suite: Suite
) -> None:
    """Catalogue 86."""
    app = await operator_with_app(suite)
    (told,) = await mis.json("operator", "reset-mfa", app.staff.email)
    assert told == {"id": str(app.staff.id), "email": app.staff.email}
    *_, event = await platform_events(suite, "operator.totp_reset")
    assert (event.actor, event.resource) == (COMMAND_LINE, f"operators/{app.staff.id}")
    # Whoever has the lost app may have signed in by it.
    await suite.hear_of_it()
    refused(await as_operator(suite, app.staff, "GET", MFA), 401, "token_revoked")
    fine(await operator_login(suite, app.staff.email))
    for email, code in ((app.staff.email, "mfa_not_set"), (an_address(), "operator_not_found")):
        (told,) = await mis.json("operator", "reset-mfa", email, code=REFUSED)
        assert told["problem"]["code"] == code


async def test_an_operator_is_let_go_and_back_in(mis: CommandLine, suite: Suite) -> None:
    """Catalogue 67."""
    staff, tenant = await new_operator(suite), await suite.tenant()
    visit = {"tenantId": str(tenant.id), "reason": "Before they go."}
    inside = fine(await as_operator(suite, staff, "POST", "/api/v1/auth/act-as", visit))["token"]
    (told,) = await mis.json("operator", "disable", staff.email)
    assert told == {"id": str(staff.id), "email": staff.email}
    await suite.hear_of_it()
    for path, token in (("/api/v1/auth/me", staff.token), ("/api/v1/users", inside)):
        refused(await suite.client.get(path, headers=bearer(token)), 401, "token_revoked")
    assert (await operator_login(suite, staff.email)).status_code == 401
    await mis.json("operator", "enable", staff.email)
    fine(await operator_login(suite, staff.email))
    (told,) = await mis.json("operator", "disable", an_address(), code=REFUSED)
    assert told["problem"]["code"] == "operator_not_found"


async def test_an_operator_gets_another_password(mis: CommandLine, suite: Suite) -> None:
    staff = await new_operator(suite)
    words = ("operator", "set-password", staff.email, "--password-stdin")
    (told,) = await mis.json(*words, stdin="short\n", code=REFUSED)
    assert told["problem"]["code"] == "password_policy"
    await mis.json(*words, stdin=f"{GOOD}\n")
    assert (await operator_login(suite, staff.email)).status_code == 401
    fine(await operator_login(suite, staff.email, password=GOOD))
    *_, event = await platform_events(suite, "operator.password_set")
    assert (event.actor, event.resource) == (COMMAND_LINE, f"operators/{staff.id}")


async def test_an_operators_password_is_asked_for_twice_and_never_shown(mis: CommandLine) -> None:
    result = await mis("operator", "create", an_address(), stdin=f"{GOOD}\n{GOOD}\n")
    assert result.exit_code == 0, result.stderr
    assert GOOD not in result.stdout + result.stderr


@pytest.mark.parametrize("password", ["short", "password1234", "opal-opal-opal"])
async def test_a_password_that_is_guessed_soon_is_refused(mis: CommandLine, password: str) -> None:
    words = ("operator", "create", an_address(), "--name", "Opal", "--password-stdin")
    (told,) = await mis.json(*words, stdin=f"{password}\n", code=REFUSED)
    assert told["problem"]["code"] == "password_policy"


async def test_dead_jobs_are_listed_and_tried_again(mis: CommandLine, suite: Suite) -> None:
    tenant = await suite.tenant()
    job = await add_dead_job(suite, tenant)
    (shown,) = await mis.json("jobs", "list", "--state", "dead", "--tenant", tenant.id)
    assert (shown["id"], shown["error"]) == (str(job), "ValueError")
    line = (await mis("jobs", "list", "--tenant", tenant.id)).stdout
    assert "canary" not in line
    assert line.split()[:4] == [str(job), "dead", "8", "test"]
    (again,) = await mis.json("jobs", "retry", job)
    assert (again["state"], again["attempts"]) == ("queued", 0)
    (told,) = await mis.json("jobs", "retry", job, code=REFUSED)
    assert told["problem"]["code"] == "job_not_dead"
    assert (await mis("jobs", "retry", new_id())).exit_code == REFUSED
    assert (await mis("jobs", "retry", "no id")).exit_code == CANNOT_START


async def test_the_demo_fills_a_running_suite_once_and_is_noted_in_its_record(
    mis: CommandLine, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = f"demo-{secrets.token_hex(4)}"
    monkeypatch.setattr(seeding, "DEMO", (seeding._Wanted(slug, "Demo", "basic", 5),))
    async with served(suite) as port:
        record = {
            "baseUrl": f"http://127.0.0.1:{port}",
            "operator": {"email": OPERATOR_EMAIL, "password": suite.operator_password},
        }
        (tmp_path / "run.json").write_text(json.dumps(record))
        (first,) = await mis.json("seed", "--data-dir", tmp_path)
        (again,) = await mis.json("seed", "--data-dir", tmp_path)
        elsewhere = {"MIS_OPERATOR_EMAIL": OPERATOR_EMAIL, "MIS_OPERATOR_PASSWORD": "wrong"}
        refused = await mis("seed", "--base-url", record["baseUrl"], "--data-dir", tmp_path, env=elsewhere)
    assert first == again
    assert json.loads((tmp_path / "run.json").read_text())["demo"] == [first]
    assert (await suite.sign_in(slug, first["email"], first["password"])).role == "owner"
    assert (refused.exit_code, "401" in refused.stderr) == (REFUSED, True)
    gone = await mis("seed", "--data-dir", tmp_path)
    assert gone.exit_code == AWAY


async def test_a_seed_without_a_suite_is_told_so(mis: CommandLine, tmp_path: Path) -> None:
    result = await mis("seed", "--data-dir", tmp_path)
    assert (result.exit_code, "No suite runs in" in result.stderr) == (CANNOT_START, True)
