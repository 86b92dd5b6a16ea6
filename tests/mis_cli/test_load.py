"""`mis load`: small tests of many tenants, and what is told when one sees what is another's."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mis_cli.exits import AWAY, CANNOT_START, REFUSED
from mis_cli.load import running, suites
from mis_cli.load.asking import Asking
from mis_cli.load.charts import curve_of, rows_of, steps_to
from mis_cli.load.checks import Checks
from mis_cli.load.measures import Measures, Outcome, jain
from mis_cli.load.order import Order
from mis_cli.load.order import Suite as There
from mis_cli.load.page import page_of
from mis_cli.load.populace import Member, Populace
from mis_cli.load.report import document_of
from mis_cli.load.running import Result, Watching
from mis_tenancy.plans import PlanName
from tests.answers import fine
from tests.integration.wire import served
from tests.mis_cli.command_line import CommandLine
from tests.suite import OPERATOR_EMAIL, OPERATOR_PASSWORD, Suite
from tests.tenant_service.requests import TENANTS

SIGNED_IN = {"MIS_OPERATOR_EMAIL": OPERATOR_EMAIL, "MIS_OPERATOR_PASSWORD": OPERATOR_PASSWORD}


def an_order(**values: Any) -> Order:
    usual: dict[str, Any] = {"tenants": 2, "users": 3, "plan": PlanName.CUSTOM, "seconds": 600.0}
    return Order(**usual | {"workers": 2, "rate": None, "sign_ins": 2} | values)


@pytest.fixture(scope="module")
async def there(suite: Suite) -> AsyncIterator[There]:
    """The suite at a port of this machine."""
    async with served(suite) as port:
        yield There(f"http://127.0.0.1:{port}", OPERATOR_EMAIL, OPERATOR_PASSWORD)


class Until:
    """Ends a test's traffic once so many requests were made for each tenant."""

    def __init__(self, requests: int) -> None:
        self.stop = asyncio.Event()
        self.made = 0
        self._requests = requests

    @property
    def watching(self) -> Watching:
        return Watching(self._tenant, self._passed)

    def _tenant(self) -> None:
        self.made += 1

    def _passed(self, seconds: float, measures: Measures) -> None:
        if min(tally.requests for tally in measures.by_tenant.values()) >= self._requests:
            self.stop.set()


async def status_of(suite: Suite, slug: str) -> str:
    answer = await suite.client.get(f"{TENANTS}/{slug}", headers=suite.operator)
    return str(fine(answer)["status"])


async def test_tenants_are_made_kept_busy_told_of_and_removed(suite: Suite, there: There) -> None:
    until, order = Until(60), an_order()
    result = await running.run(there, order, until.watching, until.stop, keep=False)
    report = document_of(result, order, there.base_url)
    assert until.made == 2
    assert report["passed"], (report["failures"], report["isolation"])
    assert (report["isolation"]["mistakes"], report["total"]["errors"]) == (0, 0)
    assert report["isolation"]["rowsChecked"] > 0
    assert report["total"]["requests"] == sum(one["requests"] for one in report["byTenant"]) >= 120
    assert 0 < report["fairness"]["throughputIndex"] <= 1
    assert {await status_of(suite, one["slug"]) for one in report["byTenant"]} == {"pending_deletion"}


async def test_who_reaches_for_another_tenants_is_refused_and_whose_token_grows_old_gets_a_new_one(
    there: There,
) -> None:
    async with httpx.AsyncClient(base_url=there.base_url) as client:
        populace = Populace(client, there, an_order(sign_ins=1, users=1))
        await populace.sign_in()
        members = await populace.make(lambda: None)
        measures = Measures([member.slug for member in members])
        traffic = running.traffic_of(client, measures, members[0], members, 0.0)
        members[0].owner.renew_at = 0.0
        before = members[0].owner.token
        await traffic.step()
        assert members[0].owner.token != before
        await traffic.upload(members[0].owner)
        for _ in range(20):
            await traffic.reach_for_another(members[0].owner)
        await populace.remove()
    assert measures.foreign_asked >= 20
    assert (measures.mistakes, measures.total.errors) == ([], 0)


async def test_the_command_prints_and_writes_its_report(
    mis: CommandLine, there: There, tmp_path: Path
) -> None:
    page, file = tmp_path / "load.html", tmp_path / "load.json"
    words = [
        "--tenants=2",
        "--users-per-tenant=2",
        "--sign-ins=1",
        "--duration=1",
        "--workers=1",
        "--rate=20",
    ]
    env = mis.env | SIGNED_IN
    result = await mis(
        "load", *words, "--base-url", there.base_url, "--html", page, "--report", file, "--json", env=env
    )
    assert result.exit_code == 0, (result.output, result.stderr, result.exception)
    document = json.loads(result.stdout)
    assert document == json.loads(file.read_text())
    assert (document["tenants"], document["usersPerTenant"], document["plan"]) == (2, 2, "custom")
    assert "Every tenant saw only its own" in page.read_text()
    shown = await mis("load", *words, "--base-url", there.base_url, env=env)
    assert shown.exit_code == 0
    assert "0 mistakes" in shown.stdout


async def test_more_users_than_a_plan_has_seats_are_refused(mis: CommandLine, there: There) -> None:
    words = ("--tenants=1", "--users-per-tenant=101", "--plan=basic", "--sign-ins=1")
    result = await mis("load", *words, "--base-url", there.base_url, env=mis.env | SIGNED_IN)
    assert (result.exit_code, "no seats for 101 users" in result.stderr) == (REFUSED, True)


async def test_without_an_operator_or_a_suite_nothing_is_begun(mis: CommandLine) -> None:
    result = await mis("load", "--base-url", "http://127.0.0.1:9", env={})
    assert (result.exit_code, "MIS_OPERATOR_EMAIL" in result.stderr) == (CANNOT_START, True)
    result = await mis("load", "--base-url", "http://127.0.0.1:9", env=SIGNED_IN)
    assert (result.exit_code, "does not answer" in result.stderr) == (AWAY, True)


async def test_a_mistake_or_an_error_fails_the_command(
    mis: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seen in ("mistake", "error"):

        async def run(*_: Any, seen: str = seen, **__: Any) -> Result:
            return a_result(seen)

        monkeypatch.setattr("mis_cli.commands.load.run", run)
        result = await mis("load", "--base-url", "http://127.0.0.1:9", env=SIGNED_IN)
        assert result.exit_code == REFUSED
        assert seen in result.stdout


def a_result(*seen: str) -> Result:
    member = Member("01a2", "load-x-1", [])
    measures = Measures([member.slug])
    measures.add(member.slug, "list users", Outcome.SERVED, ended=0.5, seconds=0.02)
    measures.add(member.slug, "list users", Outcome.LIMITED, ended=0.6, seconds=0.001)
    if "mistake" in seen:
        measures.mistaken(member.slug, "list users", "<b>olga@other.example</b>")
    if "error" in seen:
        measures.add(
            member.slug, "upload", Outcome.FAILED, ended=0.7, seconds=0.1, failure="500 internal_error"
        )
    return Result([member], measures, datetime.now(UTC), 2.0)


def test_a_limited_request_is_neither_served_nor_an_error() -> None:
    report = document_of(a_result(), an_order(), "http://x")
    assert report["passed"]
    assert [report["total"][name] for name in ("requests", "served", "errors", "limited")] == [2, 1, 0, 1]
    assert report["bySecond"] == [1, 0]


def test_the_page_needs_nothing_else_and_runs_nothing_it_was_shown() -> None:
    page = page_of(document_of(a_result("mistake", "error"), an_order(), "http://x"))
    assert page.count("<svg") == 4
    assert not re.search(r"<script|<link|<img|@import|\bsrc=|url\(", page)
    assert "&lt;b&gt;olga@other.example" in page
    assert "500 internal_error" in page


def checks() -> tuple[Checks, Measures]:
    measures = Measures(["load-x-1"])
    return Checks(Member("01a2", "load-x-1", []), measures), measures


def answer(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


LOOKS: tuple[Callable[[Checks], bool], ...] = (
    lambda one: one.users("a", answer([{"email": "a@load-x-1.example"}, {"email": "a@load-x-2.example"}])),
    lambda one: one.user("a", answer({"email": "a@load-x-11.example"})),
    lambda one: one.files("a", answer([{"filename": "load-x-11-3.txt"}])),
    lambda one: one.content("a", httpx.Response(200, content=b"This file belongs to load-x-2.\n" * 40)),
    lambda one: one.mark("a", answer({"configValue": "load-x-2"})),
    lambda one: one.own_id("a", answer({"tenant": {"id": "01a3"}}), "tenant", "id"),
    lambda one: one.refused("a", answer([]), "GET /api/v1/users/…"),
)


@pytest.mark.parametrize("look", LOOKS)
def test_a_row_of_another_tenant_is_a_mistake_wherever_it_turns_up(look: Callable[[Checks], bool]) -> None:
    one, measures = checks()
    assert look(one) is False
    assert measures.mistakes_of.total() == 1


def test_what_is_right_or_was_refused_is_no_mistake() -> None:
    one, measures = checks()
    assert one.users("a", answer([{"email": "a@load-x-1.example"}]))
    assert one.content("a", httpx.Response(200, content=Member("", "load-x-1", []).content))
    assert one.refused("a", answer({}, 404), "GET")
    assert measures.mistakes == []
    assert measures.rows_checked == 2


async def test_an_answer_that_was_not_expected_is_an_error_and_too_many_is_not() -> None:
    answers = iter([answer({"code": "internal_error"}, 500), answer({}, 429), answer({}, 200)])
    answers_of = httpx.MockTransport(lambda _: limited(next(answers)))
    measures = Measures(["load-x-1"])
    async with httpx.AsyncClient(transport=answers_of, base_url="http://x") as client:
        asking = Asking(client, measures, "load-x-1", 0.0)
        given = [await asking.ask("a", "GET", "/", 200) for _ in range(3)]
    assert [one is None for one in given] == [True, True, False]
    assert measures.failures == {("a", "500 internal_error"): 1}
    assert (measures.total.errors, measures.total.limited, measures.total.served) == (1, 1, 1)


def limited(one: httpx.Response) -> httpx.Response:
    one.headers["Retry-After"] = "0"
    return one


def test_fairness_is_one_for_equals_and_an_nth_where_one_has_everything() -> None:
    assert jain([5, 5, 5]) == 1
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([]) is None


@pytest.mark.parametrize("most", [0, 0.4, 1, 7, 99, 100, 1234.5])
def test_an_axis_has_few_round_steps_and_room_for_the_largest_value(most: float) -> None:
    steps = steps_to(most)
    assert steps[0] == 0
    assert steps[-1] >= most
    assert 2 <= len(steps) <= 7


def test_charts_of_nothing_are_empty() -> None:
    assert rows_of([]).rows == ()
    assert curve_of([]).line == ""
    assert rows_of([("a", [None])]).rows[0].marks == ()


@pytest.mark.deep
async def test_without_a_running_suite_it_starts_one_of_its_own(tmp_path: Path) -> None:
    async with suites.running_or_own(tmp_path) as own:
        until = Until(10)
        result = await running.run(own, an_order(), until.watching, until.stop, keep=False)
    assert result.measures.total.errors == 0
    assert result.measures.mistakes == []
