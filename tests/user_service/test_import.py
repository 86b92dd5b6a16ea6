import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mis_models.accounts import CountersRow
from mis_models.links import InvitationRow
from tests.suite import Suite, TenantHandle
from tests.user_service.requests import USERS, changes_audited, code, counted, create, listed
from user_service.imports import files, service
from user_service.imports.seating import seat

IMPORT = f"{USERS}/import"
CSV, NDJSON = "text/csv", "application/x-ndjson"


async def send(
    suite: Suite, tenant: TenantHandle, body: str | bytes, kind: str = CSV, **headers: str
) -> httpx.Response:
    return await suite.client.post(
        IMPORT, content=body, headers=tenant.auth | {"Content-Type": kind} | headers
    )


def problems(document: dict[str, Any]) -> dict[int, str]:
    return {row["row"]: row["problem"]["code"] for row in document["rows"] if not row["ok"]}


async def test_good_rows_come_in_beside_bad_ones(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await create(suite, tenant, "there@example.com")
    rows = [
        "email,name,role",
        "ada@example.com,Ada Lovelace,admin",
        "nobody,No Address,",
        "bob@example.com,,member",
        'zoe@example.com,"Zoë ""Z"" Müller,\nthe second",',
        "THERE@example.com,Taken,",
        "Ada@Example.com,Twice,",
        "eve@example.com,Eve,emperor",
        "too@example.com,Many,member,cells",
        "nul@example.com,N\x00ul,",
        "",
        "last@example.com,Last,viewer",
    ]
    answer = await send(suite, tenant, "\r\n".join(rows))
    assert answer.status_code == 200
    document = answer.json()
    assert (document["total"], document["created"], document["failed"]) == (10, 3, 7)
    assert [row["row"] for row in document["rows"]] == list(range(1, 11))
    assert problems(document) == {
        2: "validation_failed",
        3: "validation_failed",
        5: "email_taken",
        6: "email_taken",
        7: "validation_failed",
        8: "row_malformed",
        9: "validation_failed",
    }
    assert document["rows"][1]["problem"]["errors"][0]["field"] == "email"
    made = {row["row"]: row["id"] for row in document["rows"] if row["ok"]}
    zoe = await suite.client.get(f"{USERS}/{made[4]}", headers=tenant.auth)
    assert zoe.json()["name"] == 'Zoë "Z" Müller, the second'
    assert await listed(suite, tenant, q="muller") == ["zoe@example.com"]
    assert await listed(suite, tenant, role="viewer") == ["last@example.com"]
    assert await counted(suite, tenant) == (5, 5)


async def test_ndjson_carries_attributes_and_answers_line_by_line(suite: Suite) -> None:
    tenant = await suite.tenant()
    lines = [
        json.dumps(
            {"email": "ada@example.com", "name": "Ada", "role": "viewer", "attributes": {"n": [1, "ü"]}}
        ),
        "{broken",
        "[]",
        "",
        json.dumps({"email": "bob@example.com", "name": "Bob", "tenantId": "x"}),
        "[" * 100_000,
    ]
    answer = await send(suite, tenant, "\n".join(lines), NDJSON, Accept=NDJSON)
    assert answer.headers["content-type"] == NDJSON
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["ok"] for row in rows] == [True, False, False, False, False]
    assert [row["problem"]["code"] for row in rows[1:]] == [
        "row_malformed",
        "row_malformed",
        "validation_failed",
        "row_malformed",
    ]
    user = await suite.client.get(f"{USERS}/{rows[0]['id']}", headers=tenant.auth)
    assert user.json()["attributes"] == {"n": [1, "ü"]}


@pytest.mark.parametrize(
    ("name", "content_type", "body"),
    [
        ("users.csv", "text/csv", "email,name\na@example.com,A\n"),
        ("USERS.CSV", "application/vnd.ms-excel", "\ufeffEmail, Name\r\na@example.com,A\r\n"),
        ("users.jsonl", "application/octet-stream", '{"email": "a@example.com", "name": "A"}\n'),
    ],
)
async def test_the_file_may_be_a_part_of_a_form(
    suite: Suite, name: str, content_type: str, body: str
) -> None:
    tenant = await suite.tenant()
    files = {"file": (name, body.encode(), content_type)}
    answer = await suite.client.post(IMPORT, files=files, headers=tenant.auth)
    assert answer.json()["created"] == 1, answer.text


async def test_an_import_takes_exactly_the_seats_there_are(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=301)
    lines = [f"u{number}@example.com,User {number}" for number in range(400)]
    answer = await send(suite, tenant, "\n".join(["email,name", *lines]))
    document = answer.json()
    assert (document["created"], document["failed"]) == (300, 100)
    assert problems(document) == dict.fromkeys(range(301, 401), "limit_exceeded")
    refused = document["rows"][-1]["problem"]
    assert (refused["limit"], refused["used"], refused["requested"]) == (301, 301, 1)
    assert await counted(suite, tenant) == (301, 301)


async def test_parallel_imports_and_creates_share_the_seats_exactly(suite: Suite) -> None:
    """Catalogue 99."""
    tenant = await suite.tenant("custom", maxUsers=50)

    async def bring(part: int) -> int:
        lines = [f"p{part}-{number}@example.com,User" for number in range(20)]
        created: int = (await send(suite, tenant, "\n".join(["email,name", *lines]))).json()["created"]
        return created

    async def one(number: int) -> int:
        body = {"email": f"single{number}@example.com", "name": "Ada"}
        answer = await suite.client.post(USERS, json=body, headers=tenant.auth)
        return int(answer.status_code == 201)

    made = await asyncio.gather(*(bring(part) for part in range(4)), *(one(number) for number in range(20)))
    assert sum(made) == 49
    assert await counted(suite, tenant) == (50, 50)


async def test_parallel_imports_of_the_same_file_make_each_user_once(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    lines = [f"u{number}@example.com,User" for number in range(100)]
    files = ["\n".join(["email,name", *order]) for order in (lines, lines[::-1], lines)]
    answers = await asyncio.gather(*(send(suite, tenant, body) for body in files))
    assert sum(answer.json()["created"] for answer in answers) == 100
    assert await counted(suite, tenant) == (101, 101)


async def test_nobody_imports_a_role_above_their_own(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    admin, member = await suite.user(tenant, "admin"), await suite.user(tenant, "member")
    body, headers = "email,name,role\na@example.com,A,owner\nb@example.com,B,admin\n", {"Content-Type": CSV}
    answer = await suite.client.post(IMPORT, content=body, headers=admin.auth | headers)
    assert problems(answer.json()) == {1: "permission_denied"}
    refused = await suite.client.post(IMPORT, content=body, headers=member.auth | headers)
    assert code(refused) == (403, "permission_denied")


async def test_an_address_of_another_tenant_is_free_here(suite: Suite) -> None:
    """Catalogue 41."""
    ours, theirs = await suite.tenant(), await suite.tenant()
    await create(suite, theirs, "ada@example.com")
    answer = await send(suite, ours, "email,name\nada@example.com,Ada\n")
    assert answer.json()["created"] == 1


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("email,name,password\na@example.com,A,secret\n", CSV, (422, "password_column")),
        ("email,name,passwordHash\n", CSV, (422, "password_column")),
        ('{"email": "a@example.com", "name": "A", "password": "secret"}', NDJSON, (422, "password_column")),
        ("name\nAda\n", CSV, (422, "column_missing")),
        ("", CSV, (422, "column_missing")),
        ("email,name,tenantId\n", CSV, (422, "column_unknown")),
        ("email,name,email\n", CSV, (422, "column_twice")),
        ("email,name\n".encode("utf-16"), CSV, (400, None)),
        ("email;name;password\n", CSV, (422, "password_column")),
        ("email,name\n" + "a@example.com,A\n" * 51, CSV, (422, "too_many_rows")),
        ("email,name\n", "application/json", (415, None)),
        ("email,name\n", "", (415, None)),
        ("--x--", "multipart/form-data; boundary=x", (422, "missing")),
        ("nonsense", "multipart/form-data", (400, None)),
    ],
)
async def test_a_file_that_cannot_be_taken_is_refused_whole(
    suite: Suite,
    monkeypatch: pytest.MonkeyPatch,
    body: str | bytes,
    kind: str,
    expected: tuple[int, str | None],
) -> None:
    monkeypatch.setattr(files, "MOST_ROWS", 50)
    tenant = await suite.tenant()
    answer = await send(suite, tenant, body, kind)
    assert (answer.status_code, answer.headers["content-type"]) == (expected[0], "application/problem+json")
    if expected[1] is not None:
        assert answer.json()["errors"][0]["code"] == expected[1]
    assert await counted(suite, tenant) == (1, 1)


async def test_bad_rows_after_good_ones_of_a_refused_file_leave_nothing(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    lines = [json.dumps({"email": f"u{number}@example.com", "name": "U"}) for number in range(600)]
    lines.append(json.dumps({"email": "x@example.com", "name": "X", "password": "secret"}))
    assert code(await send(suite, tenant, "\n".join(lines), NDJSON)) == (422, "validation_failed")
    assert await counted(suite, tenant) == (1, 1)


async def test_a_file_over_the_limit_is_refused_by_its_declared_length(suite: Suite) -> None:
    tenant = await suite.tenant()
    headers = {"Content-Type": CSV, "Content-Length": str(256 * 2**20 + 1)}
    answer = await suite.client.post(IMPORT, content=b"email,name\n", headers=tenant.auth | headers)
    assert code(answer) == (413, "body_too_large")


async def test_an_import_leaves_one_audit_row_with_its_counts(suite: Suite) -> None:
    """Catalogue 128."""
    tenant = await suite.tenant()
    await send(suite, tenant, "email,name\na@example.com,A\nnobody,B\n")
    (row,) = [row for row in await changes_audited(suite, tenant) if row.action == "users.imported"]
    counts = {name: change["new"] for name, change in (row.changes or {}).items()}
    assert counts == {"created": 1, "failed": 1, "rows": [1, 2]}


async def test_invited_people_are_imported_into_the_seats_of_their_invitations(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=4)
    admin = await suite.user(tenant, "admin")
    for email, role in (("ina@x.example", "member"), ("olga@x.example", "owner")):
        body = {"email": email, "role": role}
        answer = await suite.client.post("/api/v1/auth/invitations", json=body, headers=tenant.auth)
        assert answer.status_code == 201, answer.text
    rows = "email,name\nnew@x.example,New\nIna@x.example,Ina\nolga@x.example,Olga\nmore@x.example,More\n"
    answer = await suite.client.post(IMPORT, content=rows, headers=admin.auth | {"Content-Type": CSV})
    document = answer.json()
    assert [row["row"] for row in document["rows"] if row["ok"]] == [2]
    assert problems(document) == {1: "limit_exceeded", 3: "permission_denied", 4: "limit_exceeded"}
    async with suite.database.transaction(tenant.id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
        invited = list(await session.scalars(select(InvitationRow.email_norm)))
    assert (counters.users, counters.pending_invitations) == (3, 1)
    assert invited == ["olga@x.example"]


async def test_a_row_that_breaks_the_format_harms_none_beside_it(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    rows = [
        b"Email;NAME;attributes",
        b"a@x.example;Ada;",
        b"\xff@x.example;Latin;",
        b'"b@x.example"x;Bob;',
        'c@x.example;Zoe\u0301;"{""team"": ""north""}"'.encode(),
        b"d@x.example;Dan;no json",
        b"e@x.example;Eve;;;",
        b"f@x.example;'=SUM(A1);",
        b"g@x.example;" + b"x" * 300_000 + b";",
        b'h@x.example;"never closed;',
    ]
    answer = await send(suite, tenant, b"\n".join(rows))
    document = answer.json()
    problems = [(row["row"], row["problem"]["code"]) for row in document["rows"] if not row["ok"]]
    made = [row["row"] for row in document["rows"] if row["ok"]]
    assert made == [1, 4, 7]
    assert [number for number, _ in problems[:4]] == [2, 3, 5, 6]
    assert {code for _, code in problems} <= {"row_malformed", "validation_failed"}
    assert "Line 3" in document["rows"][1]["problem"]["detail"]
    assert "Lines 4 to 4" in document["rows"][2]["problem"]["detail"]
    users = (await suite.client.get(USERS, headers=tenant.auth)).json()
    assert {user["name"] for user in users} >= {"Zo\u00e9", "=SUM(A1)"}
    assert {"team": "north"} in [user["attributes"] for user in users]


async def test_an_atomic_import_takes_all_rows_or_none(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    good = [f"u{number}@x.example,User {number}" for number in range(1_200)]
    bad = [*good[:600], "nobody,X", *good[600:], good[0]]
    refused = await suite.client.post(
        f"{IMPORT}?atomic=true",
        content="\n".join(["email,name", *bad]),
        headers=tenant.auth | {"Content-Type": CSV},
    )
    assert code(refused) == (422, "import_refused")
    document = refused.json()
    assert (document["total"], document["created"], document["failed"]) == (1_202, 0, 2)
    assert problems(document) == {601: "validation_failed", 1_202: "email_taken"}
    assert await counted(suite, tenant) == (1, 1)
    assert [row.action for row in await changes_audited(suite, tenant)] == []
    taken = await suite.client.post(
        f"{IMPORT}?atomic=true",
        content="\n".join(["email,name", *good]),
        headers=tenant.auth | {"Content-Type": CSV},
    )
    rows = taken.json()["rows"]
    assert (taken.json()["created"], [row["row"] for row in rows]) == (1_200, list(range(1, 1_201)))
    last = await suite.client.get(f"{USERS}/{rows[-1]['id']}", headers=tenant.auth)
    assert last.json()["email"] == "u1199@x.example"
    (row,) = await changes_audited(suite, tenant)
    assert (row.changes or {})["rows"]["new"] == [1, 1_200]


async def test_an_atomic_import_beyond_the_seats_takes_none(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=5)
    rows = "\n".join(["email,name", *(f"u{number}@x.example,U" for number in range(5))])
    answer = await suite.client.post(
        f"{IMPORT}?atomic=true", content=rows, headers=tenant.auth | {"Content-Type": CSV}
    )
    assert problems(answer.json()) == {5: "limit_exceeded"}
    assert await counted(suite, tenant) == (1, 1)


async def test_an_import_goes_on_from_the_row_that_is_asked_for(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    rows = "\n".join(["email,name", *(f"u{number}@x.example,U" for number in range(1, 11))])
    for first, expected in ((8, [8, 9, 10]), (11, []), (10**6, [])):
        answer = await suite.client.post(
            f"{IMPORT}?resumeFrom={first}", content=rows, headers=tenant.auth | {"Content-Type": CSV}
        )
        assert [row["row"] for row in answer.json()["rows"]] == expected
    assert await counted(suite, tenant) == (4, 4)
    for wrong in ("0", "-1", "x", "1.5"):
        answer = await suite.client.post(
            f"{IMPORT}?resumeFrom={wrong}", content=rows, headers=tenant.auth | {"Content-Type": CSV}
        )
        assert code(answer) == (422, "validation_failed")


async def test_what_was_told_is_there_when_the_client_goes_away_in_the_midst_of_it(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    monkeypatch.setattr(service, "_BATCH", 10)
    body = "\n".join(["email,name", *(f"u{number}@x.example,U" for number in range(200))]).encode()
    told: list[bytes] = []
    asked, enough = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": body, "more_body": False}
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send_(message: Any) -> None:
        if message.get("body"):
            told.append(message["body"])
        if len(told) == 3:
            enough.set()

    headers = tenant.auth | {"content-type": CSV, "accept": NDJSON, "host": "testserver"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": IMPORT,
        "raw_path": IMPORT.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("10.9.8.7", 50_000),
        "server": ("testserver", 80),
    }
    await suite.gateway(scope, receive, send_)
    rows = [json.loads(line) for line in b"".join(told).splitlines()]
    users, there = await counted(suite, tenant)
    assert users == there
    # The batch under way when the client left is finished, and no other is begun.
    assert len(rows) <= there - 1 <= len(rows) + 10
    assert there < 200
    for row in rows[:1] + rows[-1:]:
        user = await suite.client.get(f"{USERS}/{row['id']}", headers=tenant.auth)
        assert user.status_code == 200
    following = await suite.client.post(
        f"{IMPORT}?resumeFrom={there}", content=body, headers=tenant.auth | {"Content-Type": CSV}
    )
    assert following.json()["failed"] == 0
    assert await counted(suite, tenant) == (201, 201)


async def test_an_import_stops_where_its_importer_is_thrown_out(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 67."""
    tenant = await suite.tenant("custom")
    admin = await suite.user(tenant, "admin")
    monkeypatch.setattr(service, "_BATCH", 2)

    async def seat_and_throw_out(*given: Any, **options: Any) -> Any:
        results = await seat(*given, **options)
        monkeypatch.setattr(service, "seat", seat)
        path = f"{USERS}/{admin.id}"
        throw_out = suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth)
        thrown.append(asyncio.create_task(throw_out))
        return results

    async def thrown_out(*given: Any) -> Any:
        await thrown[0]
        await suite.tenancy().feed.poll()
        return await next_rows(*given)

    thrown: list[Any] = []
    next_rows = service.Importer._next
    monkeypatch.setattr(service, "seat", seat_and_throw_out)

    async def next_when_told(importer: Any, rows: Any) -> Any:
        return await (thrown_out(importer, rows) if thrown else next_rows(importer, rows))

    monkeypatch.setattr(service.Importer, "_next", next_when_told)
    body = "\n".join(["email,name", *(f"u{number}@x.example,U" for number in range(9))])
    answer = await suite.client.post(IMPORT, content=body, headers=admin.auth | {"Content-Type": CSV})
    rows = answer.json()["rows"]
    assert [row["ok"] for row in rows] == [True, True, False]
    assert rows[2]["problem"]["code"] == "token_revoked"
    assert await counted(suite, tenant) == (4, 4)


@pytest.mark.parametrize("atomic", ["true", "false"])
async def test_who_changes_something_meanwhile_does_not_wait_for_an_import(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, atomic: str
) -> None:
    """Catalogue 131: the importer's own other changes, audited beside the import's, do not wait either."""
    tenant = await suite.tenant("custom")
    user = await suite.user(tenant, "member")
    answers: list[int] = []
    writes = [
        ("PATCH", f"{USERS}/{user.id}", tenant.auth, {"name": "Renamed"}),
        ("PATCH", f"{USERS}/me", user.auth, {"name": "Self Named"}),
    ]
    if atomic == "true":
        # A batch by itself holds the seats, for a moment.
        writes.append(("PATCH", f"{USERS}/{user.id}", tenant.auth, {"role": "viewer"}))
        writes.append(("POST", USERS, tenant.auth, {"email": "meanwhile@x.example", "name": "M"}))

    async def seat_and_look(*given: Any, **options: Any) -> Any:
        results = await seat(*given, **options)
        while writes:
            method, path, auth, body = writes.pop(0)
            answers.append((await suite.client.request(method, path, json=body, headers=auth)).status_code)
        return results

    monkeypatch.setattr(service, "_BATCH", 2)
    monkeypatch.setattr(service, "seat", seat_and_look)
    body = "\n".join(["email,name", *(f"u{number}@x.example,U" for number in range(4))])
    sent = tenant.auth | {"Content-Type": CSV}
    answer = await suite.client.post(IMPORT, params={"atomic": atomic}, content=body, headers=sent)
    assert answer.json()["created"] == 4
    assert answers == ([200, 200, 200, 201] if atomic == "true" else [200, 200])


async def test_an_atomic_import_whose_seats_others_have_taken_meanwhile_takes_none(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 99."""
    tenant = await suite.tenant("custom", maxUsers=5)
    await create(suite, tenant, "before@x.example")

    async def seat_and_join(*given: Any, **options: Any) -> Any:
        results = await seat(*given, **options)
        monkeypatch.setattr(service, "seat", seat)
        await create(suite, tenant, "meanwhile@x.example")
        return results

    monkeypatch.setattr(service, "_BATCH", 2)
    monkeypatch.setattr(service, "seat", seat_and_join)
    body = "\n".join(["email,name", *(f"u{number}@x.example,U" for number in range(3))])
    sent = tenant.auth | {"Content-Type": CSV}
    answer = await suite.client.post(f"{IMPORT}?atomic=true", content=body, headers=sent)
    # The second batch sees that there is no seat left.
    assert code(answer) == (422, "import_refused")
    assert await counted(suite, tenant) == (3, 3)
    monkeypatch.setattr(service, "seat", seat_and_join_late(suite, tenant))
    answer = await suite.client.post(
        f"{IMPORT}?atomic=true", content="email,name\na@x.example,A\nb@x.example,B", headers=sent
    )
    assert code(answer) == (409, "limit_exceeded")
    assert await counted(suite, tenant) == (4, 4)


def seat_and_join_late(suite: Suite, tenant: TenantHandle) -> Any:
    """Return what seats a batch, and lets somebody else join behind it."""

    async def one_more(*given: Any, **options: Any) -> Any:
        results = await seat(*given, **options)
        await create(suite, tenant, "late@x.example")
        return results

    return one_more


async def test_who_joins_with_an_address_of_an_atomic_import_or_the_import_comes_in_and_not_both(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 137: each waits for what the other one holds, and Postgres lets one of them go."""
    tenant = await suite.tenant("custom")
    joining: list[asyncio.Task[httpx.Response]] = []

    async def seat_and_join(*given: Any, **options: Any) -> Any:
        results = await seat(*given, **options)
        join = suite.client.post(USERS, json={"email": "u0@x.example", "name": "U"}, headers=tenant.auth)
        joining.append(asyncio.create_task(join))
        # Long enough to hold the seats and to wait for the address; whatever becomes of that is fine.
        await asyncio.wait({joining[0]}, timeout=0.5)
        return results

    monkeypatch.setattr(service, "seat", seat_and_join)
    body = "\n".join(["email,name", *(f"u{number}@x.example,U" for number in range(3))])
    sent = tenant.auth | {"Content-Type": CSV}
    answer = await suite.client.post(f"{IMPORT}?atomic=true", content=body, headers=sent)
    joined = await joining[0]
    if answer.status_code == 200:
        assert code(joined) in ((409, "email_taken"), (503, "transaction_conflict"))
        assert await counted(suite, tenant) == (4, 4)
    else:
        assert code(answer) == (503, "transaction_conflict")
        assert joined.status_code == 201
        assert await counted(suite, tenant) == (2, 2)
