"""`POST /api/v1/tenants/bulk`: many operations in one request, in order, each for itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from starlette.types import Message

from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from tenant_service.bulk import received
from tenant_service.bulk.keys import KeyOnce
from tenant_service.lifecycle.states import States
from tests.answers import fine, refused
from tests.suite import Suite
from tests.tenant_service.plan_moves import migrations_of
from tests.tenant_service.requests import TENANTS, an_owner, audit_rows, new_slug

PATH = f"{TENANTS}/bulk"
NDJSON = "application/x-ndjson"


def making(**more: Any) -> dict[str, Any]:
    return {"operation": "create", "name": "Bulk", "slug": new_slug("b")} | more


async def send(suite: Suite, operations: Sequence[Any], kind: str = NDJSON) -> httpx.Response:
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in operations)
    body = lines if kind == NDJSON else json.dumps(operations).encode()
    return await suite.client.post(PATH, content=body, headers={**suite.operator, "Content-Type": kind})


def outcomes(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == NDJSON
    return [json.loads(line) for line in answer.text.splitlines()]


async def bulk(suite: Suite, *operations: Any) -> list[dict[str, Any]]:
    return outcomes(await send(suite, operations))


def codes(found: list[dict[str, Any]]) -> list[str | None]:
    return [None if one["ok"] else one["problem"]["code"] for one in found]


def platform(suite: Suite) -> Database:
    database: Database = suite.apps["tenant"].state.platform
    return database


@pytest.mark.parametrize("kind", [NDJSON, "application/json"])
async def test_operations_are_carried_out_in_order_and_answered_in_order(suite: Suite, kind: str) -> None:
    slug = new_slug("b")
    operations = [
        making(slug=slug, plan="premium", owner=an_owner()),
        {"operation": "suspend", "tenantId": slug, "reason": "They asked."},
        {"operation": "reactivate", "tenantId": slug},
        {"operation": "migrate", "tenantId": slug, "targetPlan": "enterprise"},
        {"operation": "delete", "tenantId": slug, "graceDays": 3},
    ]
    found = outcomes(await send(suite, operations, kind))
    tenant = found[0]["tenantId"]
    names = [one["operation"] for one in operations]
    assert found == [
        {"index": index, "operation": name, "ok": True, "tenantId": tenant}
        for index, name in enumerate(names)
    ]
    document = fine(await suite.client.get(f"{TENANTS}/{tenant}", headers=suite.operator))
    assert (document["status"], document["plan"]) == ("pending_deletion", "enterprise")


async def test_a_failure_stops_nothing_and_says_what_the_single_request_would_have_said(suite: Suite) -> None:
    slug, suspended = new_slug("b"), await suite.tenant()
    operations: list[Any] = [
        making(slug=slug),
        making(slug=slug),
        making(slug="admin"),
        making(maxUsers=101),
        making(surprise=1),
        making(plan="gold"),
        making(owner={"email": "no address"}),
        {"operation": "suspend", "tenantId": str(suspended.id)},
        {"operation": "suspend", "tenantId": str(suspended.id), "reason": "First."},
        {"operation": "suspend", "tenantId": str(suspended.id), "reason": "Second."},
        {"operation": "reactivate", "tenantId": str(new_id())},
        {"operation": "reactivate", "tenantId": "no slug at all!"},
        {"operation": "delete", "tenantId": slug, "graceDays": -1},
        {"operation": "explode", "tenantId": slug},
        {"tenantId": slug},
        [],
        making(),
    ]
    found = await bulk(suite, *operations)
    assert codes(found) == [
        None,
        "slug_taken",
        "slug_reserved",
        "limit_exceeds_plan",
        *["validation_failed"] * 4,
        None,
        "tenant_state_conflict",
        *["tenant_not_found"] * 2,
        *["validation_failed"] * 4,
        None,
    ]
    assert [one["index"] for one in found] == list(range(len(operations)))
    named = [
        [error["field"] for error in one["problem"]["errors"]]
        for one in found
        if not one["ok"] and one["problem"]["code"] == "validation_failed"
    ]
    assert named == [
        ["surprise"],
        ["plan"],
        ["owner.email"],
        ["reason"],
        ["graceDays"],
        ["operation"],
        ["operation"],
        ["operation"],
    ]
    alone = await suite.client.post(
        f"{TENANTS}/create", json=making(slug=slug, operation=None), headers=suite.operator
    )
    assert alone.status_code == 422
    single = refused(
        await suite.client.post(
            f"{TENANTS}/create", json={"name": "Bulk", "slug": slug}, headers=suite.operator
        ),
        409,
        "slug_taken",
    )
    del single["instance"], single["requestId"]
    assert found[1]["problem"] == single


async def test_a_line_that_is_no_json_fails_alone(suite: Suite) -> None:
    body = b"{\n\n" + json.dumps(making()).encode() + b"\n\xff\n" + json.dumps(making()).encode()
    answer = await suite.client.post(PATH, content=body, headers={**suite.operator, "Content-Type": NDJSON})
    found = outcomes(answer)
    assert codes(found) == ["body_malformed", None, "body_malformed", None]
    # Blank lines are nothing, so they count as nothing.
    assert [one["index"] for one in found] == [0, 1, 2, 3]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1,", b"[{},]", b"[,{}]", b"[{} {}]", b"[{]}]", b"[nul]"])
async def test_an_array_that_is_none_is_refused_whole(suite: Suite, body: bytes) -> None:
    headers = {**suite.operator, "Content-Type": "application/json"}
    refused(await suite.client.post(PATH, content=body, headers=headers), 400, "body_malformed")


async def test_a_broken_array_does_nothing_of_what_stood_before_the_break(suite: Suite) -> None:
    slug = new_slug("b")
    body = json.dumps([making(slug=slug)])[:-1].encode() + b", {]"
    headers = {**suite.operator, "Content-Type": "application/json"}
    refused(await suite.client.post(PATH, content=body, headers=headers), 400, "body_malformed")
    refused(await suite.client.get(f"{TENANTS}/{slug}", headers=suite.operator), 404, "tenant_not_found")


async def test_an_empty_bulk_is_answered_with_nothing(suite: Suite) -> None:
    assert outcomes(await send(suite, [])) == []
    assert outcomes(await send(suite, [], "application/json")) == []


async def test_a_body_of_another_kind_is_refused(suite: Suite) -> None:
    refused(await send(suite, [making()], "text/csv"), 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", [NDJSON, "application/json"])
async def test_more_operations_than_a_bulk_takes_are_refused_before_the_first(
    suite: Suite, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received, "MOST_OPERATIONS", 3)
    slug = new_slug("b")
    document = refused(
        await send(suite, [making(slug=slug), making(), making(), making()], kind), 422, "validation_failed"
    )
    assert document["errors"][0]["code"] == "too_many_operations"
    refused(await suite.client.get(f"{TENANTS}/{slug}", headers=suite.operator), 404, "tenant_not_found")
    assert codes(await bulk(suite, making(), making(), making())) == [None] * 3


async def test_an_operation_larger_than_a_request_may_be_is_refused_before_the_first(suite: Suite) -> None:
    slug = new_slug("b")
    large = making(settings={"blob": "x" * 2**20})
    refused(await send(suite, [making(slug=slug), large]), 413, "body_too_large")
    refused(await suite.client.get(f"{TENANTS}/{slug}", headers=suite.operator), 404, "tenant_not_found")


async def test_a_body_over_32_mib_is_refused(suite: Suite) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield b" " * 2**20

    answer = await suite.client.post(PATH, content=body(), headers={**suite.operator, "Content-Type": NDJSON})
    refused(answer, 413, "body_too_large")


async def test_each_operation_leaves_its_rows_in_both_logs(suite: Suite) -> None:
    """Catalogue 128."""
    slug = new_slug("b")
    found = await bulk(
        suite, making(slug=slug), {"operation": "suspend", "tenantId": slug, "reason": "They asked."}
    )
    tenant = UUID(found[0]["tenantId"])
    rows = await audit_rows(suite, tenant)
    assert [row["action"] for row in rows] == ["tenant.suspended", "tenant.created"]
    async with platform(suite).platform_transaction() as session:
        statement = text("select action from platform_audit_logs where tenant_id = :id order by id")
        logged = list(await session.scalars(statement, {"id": tenant}))
    assert logged == ["tenant.created", "tenant.suspended"]


async def test_a_bulk_that_is_sent_again_does_what_has_a_key_once(suite: Suite) -> None:
    """Catalogue 137."""
    first = making(key="first")
    gone = {"operation": "delete", "tenantId": first["slug"], "key": "gone"}
    before = await bulk(suite, first, making(slug="admin", key="refused"))
    again = await bulk(suite, first, gone, gone, making(key="refused"))
    assert codes(before) == [None, "slug_reserved"]
    # A refusal keeps no key: put right, it is tried again.
    assert codes(again) == [None] * 4
    assert [one.get("replayed", False) for one in again] == [True, False, True, False]
    assert {one["tenantId"] for one in (before[0], *again[:3])} == {before[0]["tenantId"]}


async def test_a_new_owner_without_a_password_gets_in_by_the_link_of_the_outcome(suite: Suite) -> None:
    operation = making(owner={"email": "new@acme.example"}, key="with-owner")
    (first,), (again,) = await bulk(suite, operation), await bulk(suite, operation)
    assert first["ownerInvitation"].startswith("http")
    assert again == first | {"replayed": True}
    # The database keeps it for the repetition, and nobody reads it there.
    async with platform(suite).platform_transaction() as session:
        kept = await session.scalar(
            text("select answer from platform_idempotency_keys where key = :key"), {"key": "with-owner"}
        )
    token = first["ownerInvitation"].rpartition("/")[2].rpartition("=")[2]
    assert len(token) > 20
    assert token.encode() not in bytes(kept)


async def test_plans_are_migrated_by_the_rules_of_the_single_request(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    for number in range(2):
        await suite.user(tenant, "viewer", email=f"u{number}@{tenant.slug}.example")
    migrate = {"operation": "migrate", "tenantId": tenant.slug}
    erase = {"migrationOptions": {"preserveData": False}}
    found = await bulk(
        suite,
        migrate | {"targetPlan": "gold"},
        migrate | {"targetPlan": "basic"} | erase,
        migrate | {"targetPlan": "premium"},
        migrate | {"targetPlan": "basic", "key": f"down-{tenant.slug}"},
        migrate | {"targetPlan": "basic", "key": f"down-{tenant.slug}"},
        migrate | {"targetPlan": "enterprise", "migrationOptions": {"downtime": True}},
    )
    assert codes(found) == ["validation_failed", "erase_is_separate", "plan_unchanged", None, None, None]
    assert [one.get("replayed", False) for one in found[3:]] == [False, True, False]
    document = fine(await suite.client.get(f"{TENANTS}/{tenant.id}", headers=suite.operator))
    assert (document["status"], document["plan"]) == ("active", "enterprise")


@pytest.mark.parametrize("options", [{}, {"downtime": True}, {"effectiveAt": "period_end"}], ids=str)
async def test_a_keyed_migration_whose_process_dies_before_the_key_is_kept_happens_once(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Catalogue 118 and 137."""
    tenant = await suite.tenant("premium")
    operation: dict[str, Any] = {"operation": "migrate", "tenantId": tenant.slug, "targetPlan": "enterprise"}
    operation |= {"key": f"up-{tenant.slug}", "migrationOptions": options}

    async def die(*_: object) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as dying:
        dying.setattr(KeyOnce, "after", die)
        assert codes(await bulk(suite, operation)) == ["internal_error"]
    assert codes(await bulk(suite, operation, operation)) == [None, None]
    (migration,) = await migrations_of(suite, tenant)
    assert migration["status"] == ("scheduled" if "effectiveAt" in options else "completed")
    # Another key is another wish.
    again = await bulk(suite, operation | {"key": "another"})
    assert codes(again) == ["migration_pending" if "effectiveAt" in options else "plan_unchanged"]


async def test_a_key_that_was_used_for_another_operation_is_refused(suite: Suite) -> None:
    """Catalogue 137."""
    found = await bulk(suite, making(key="mine"), making(key="mine"), making(key="no spaces"))
    assert codes(found) == [None, "idempotency_key_reused", "validation_failed"]


async def test_one_key_in_two_bulks_at_once_makes_one_tenant(suite: Suite) -> None:
    """Catalogue 137."""
    operation = making(key="at-once")
    found = [
        one for lines in await asyncio.gather(*(bulk(suite, operation) for _ in range(8))) for one in lines
    ]
    assert codes(found) == [None] * 8
    assert len({one["tenantId"] for one in found}) == 1
    assert sum(one.get("replayed", False) for one in found) == 7


async def test_an_unexpected_failure_of_one_operation_is_its_own(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant()

    async def fail(*given: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(States, "suspend", fail)
    suspend = {"operation": "suspend", "tenantId": tenant.slug, "reason": "They asked."}
    answer = await send(suite, [suspend, making(), suspend])
    assert codes(outcomes(answer)) == ["internal_error", None, "internal_error"]
    assert "secret" not in answer.text
    # Five in a row are no accident of theirs: the rest is left untried, and the answer ends.
    assert codes(await bulk(suite, *[suspend] * 6, making())) == ["internal_error"] * 5


async def test_an_operator_whose_session_ends_is_stopped_at_the_next_operation(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = suite.tenancy("tenant").feed
    asked = 0

    def is_revoked(principal: Any) -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    monkeypatch.setattr(feed, "is_revoked", is_revoked)
    found = await bulk(suite, making(), making(), making())
    assert codes(found) == [None, "token_revoked"]


class Client:
    """A client of the gateway that takes the answer at its own pace, and may leave."""

    def __init__(self, suite: Suite, operations: Sequence[Any]) -> None:
        self._suite = suite
        self._body = b"".join(json.dumps(one).encode() + b"\n" for one in operations)
        self.left = asyncio.Event()
        self.may_take = asyncio.Semaphore(0)
        self.taken = asyncio.Semaphore(0)
        self.lines: list[bytes] = []

    async def run(self) -> None:
        headers = [(b"content-type", NDJSON.encode()), (b"host", b"testserver")]
        headers += [(name.lower().encode(), value.encode()) for name, value in self._suite.operator.items()]
        await self._suite.gateway(
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "POST",
                "scheme": "http",
                "path": PATH,
                "raw_path": PATH.encode(),
                "query_string": b"",
                "headers": headers,
                "client": ("10.98.7.6", 4711),
                "server": ("testserver", 80),
            },
            self._receive,
            self._send,
        )

    async def _receive(self) -> Message:
        if self._body:
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            await self.may_take.acquire()
            self.lines.append(message["body"])
            self.taken.release()


async def test_outcomes_leave_while_the_work_goes_on_and_no_transaction_waits_for_the_client(
    suite: Suite,
) -> None:
    operations = [making() for _ in range(4)]
    client = Client(suite, operations)
    task = asyncio.create_task(client.run())
    client.may_take.release()
    await client.taken.acquire()
    async with asyncio.timeout(30):
        while not await exists(suite, operations[1]):  # noqa: ASYNC110  # the database sets no event
            await asyncio.sleep(0.01)
    # The second outcome waits to be taken now.
    async with platform(suite).platform_transaction() as session:
        idle = await session.scalar(
            text(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and state like 'idle in transaction%'"
            )
        )
    assert (idle, len(client.lines)) == (0, 1)
    assert not await exists(suite, operations[2])
    for _ in operations:
        client.may_take.release()
    await task
    assert len(client.lines) == 4


async def test_a_client_that_leaves_stops_the_bulk_after_the_operation_under_way(suite: Suite) -> None:
    operations = [making() for _ in range(6)]
    client = Client(suite, operations)
    task = asyncio.create_task(client.run())
    client.may_take.release()
    await client.taken.acquire()
    client.left.set()
    for _ in operations:
        client.may_take.release()
    await task
    made = [await exists(suite, one) for one in operations]
    # Those that are there were brought to their ends, and nothing was begun after the client had left.
    assert made[:2] == [True, True]
    assert made[3:] == [False] * 3


async def exists(suite: Suite, operation: dict[str, Any]) -> bool:
    async with platform(suite).platform_transaction() as session:
        statement = text("select count(*) from tenants where slug = :slug")
        return bool(await session.scalar(statement, {"slug": operation["slug"]}))
