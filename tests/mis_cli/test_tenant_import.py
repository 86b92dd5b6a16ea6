"""`mis tenants import`: every row is told, nothing is done twice, and a stop costs nothing."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from mis_cli.exits import CANNOT_START, REFUSED, STOPPED
from tenant_service.bulk.operations import Operations
from tests.answers import fine, refused
from tests.mis_cli.command_line import CommandLine
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, new_slug

HEADER = "name,slug,plan,max_users,domain,owner_email,owner_name\n"


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    file = path / "tenants.csv"
    file.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return file


async def bring_in(mis: CommandLine, file: Path, *more: str, code: int = 0) -> tuple[list[Any], Any]:
    """Import and return the rows' results and the sums."""
    *rows, sums = await mis.json("tenants", "import", file, *more, code=code)
    return rows, sums


async def test_each_row_becomes_a_tenant_by_the_rules_of_the_api(
    mis: CommandLine, suite: Suite, tmp_path: Path
) -> None:
    first, second = new_slug("i"), new_slug("i")
    file = write(
        tmp_path,
        f"First & Sons,{first.upper()},premium,500,www.{first}.example,Owner@{first}.example,Olga Owner",
        "",
        f'"Second, Inc.",{second},custom,unlimited,,,',
    )
    rows, sums = await bring_in(mis, file)
    assert [(row["row"], row["slug"], row["outcome"]) for row in rows] == [
        (1, first, "created"),
        (2, second, "created"),
    ]
    assert sums == {"created": 2, "present": 0, "failed": 0, "stopped": False, "dryRun": False}
    made = fine(await suite.client.get(f"{TENANTS}/{first}", headers=suite.operator))
    assert (made["name"], made["maxUsers"], made["maxStorage"]) == ("First & Sons", 500, 100)
    other = fine(await suite.client.get(f"{TENANTS}/{second}", headers=suite.operator))
    assert (other["name"], other["maxUsers"]) == ("Second, Inc.", None)


async def test_refused_rows_are_named_by_number_and_the_others_are_done(
    mis: CommandLine, tmp_path: Path
) -> None:
    slug = new_slug("i")
    file = write(
        tmp_path,
        "Reserved,admin,,,,,",
        f"Fine,{slug},,,,,",
        f"Too many,{new_slug('i')},basic,101,,,",
        f"No plan,{new_slug('i')},gold,,,,",
        f"Short,{new_slug('i')}",
        f"No address,{new_slug('i')},,,,nobody,",
    )
    rows, sums = await bring_in(mis, file, code=REFUSED)
    assert [row.get("problem", {}).get("code") for row in rows] == [
        "slug_reserved",
        None,
        "limit_exceeds_plan",
        *["validation_failed"] * 3,
    ]
    assert (sums["created"], sums["failed"]) == (1, 5)
    told = await mis("tenants", "import", file, "--invitations", tmp_path / "links")
    assert told.exit_code == REFUSED
    assert "row 1 (admin): slug_reserved: " in told.stderr
    assert "plan: Input should be 'basic'" in told.stderr
    assert told.stdout == "0 made, 1 there already, 5 refused.\n"


async def test_a_second_run_passes_over_what_is_there_and_changes_nothing_that_differs(
    mis: CommandLine, suite: Suite, tmp_path: Path
) -> None:
    """Catalogue 118."""
    slugs = [new_slug("i") for _ in range(3)]
    rows = [f"Tenant,{slug},,,,," for slug in slugs]
    await bring_in(mis, write(tmp_path, *rows[:2]))
    fine(await suite.client.patch(f"{TENANTS}/{slugs[0]}", json={"name": "New"}, headers=suite.operator))
    found, sums = await bring_in(mis, write(tmp_path, *rows), code=REFUSED)
    assert [row["outcome"] for row in found] == ["failed", "present", "created"]
    assert "differs in name" in found[0]["problem"]["detail"]
    assert found[1]["tenantId"]
    assert (sums["created"], sums["present"], sums["failed"]) == (1, 1, 1)


async def test_a_stopped_import_tells_how_far_it_came_and_goes_on_when_run_again(
    mis: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 118."""
    file = write(tmp_path, *(f"Tenant,{new_slug('i')},,,,," for _ in range(4)))
    create, made = Operations.create, 0

    async def interrupted(self: Operations, *given: Any) -> Any:
        nonlocal made
        made += 1
        if made == 3:
            raise KeyboardInterrupt
        return await create(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create", interrupted)
        rows, sums = await bring_in(mis, file, code=STOPPED)
    assert (len(rows), sums["created"], sums["stopped"]) == (2, 2, True)
    _, sums = await bring_in(mis, file)
    assert (sums["created"], sums["present"]) == (2, 2)


async def test_owners_links_are_kept_where_only_this_user_reads_or_the_import_does_not_begin(
    mis: CommandLine, suite: Suite, tmp_path: Path
) -> None:
    slug, links = new_slug("i"), tmp_path / "links"
    file = write(tmp_path, f"With owner,{slug},,,,o@{slug}.example,", f"Without,{new_slug('i')},,,,,")
    refusal = await mis("tenants", "import", file)
    assert (refusal.exit_code, "--invitations" in refusal.stderr) == (CANNOT_START, True)
    refused(await suite.client.get(f"{TENANTS}/{slug}", headers=suite.operator), 404, "tenant_not_found")
    done = await mis("tenants", "import", file, "--invitations", links)
    assert done.stdout == "2 made, 0 there already, 0 refused.\n"
    (link,) = [json.loads(line) for line in links.read_text().splitlines()]
    assert (link["slug"], link["ownerInvitation"][:4]) == (slug, "http")
    assert link["ownerInvitation"] not in done.stdout + done.stderr
    assert stat.S_IMODE(links.stat().st_mode) == 0o600
    nowhere = await mis("tenants", "import", file, "--invitations", tmp_path / "no" / "links")
    assert (nowhere.exit_code, "cannot be written" in nowhere.stderr) == (CANNOT_START, True)


async def test_a_dry_run_judges_every_row_and_leaves_nothing(
    mis: CommandLine, suite: Suite, tmp_path: Path
) -> None:
    slug, taken = new_slug("i"), await suite.tenant()
    file = write(
        tmp_path, f"One,{slug},,,,,", f"Two,{slug},,,,,", "Reserved,www,,,,,", f"Taken,{taken.slug},,,,,"
    )
    rows, sums = await bring_in(mis, file, "--dry-run", code=REFUSED)
    assert [row["outcome"] for row in rows] == ["created", "failed", "failed", "failed"]
    assert rows[1]["problem"]["code"] == "slug_taken"
    assert "tenantId" not in rows[0]
    assert sums["dryRun"] is True
    refused(await suite.client.get(f"{TENANTS}/{slug}", headers=suite.operator), 404, "tenant_not_found")
    told = await mis("tenants", "import", file, "--dry-run")
    assert told.stdout == "1 would be made, 0 there already, 3 refused.\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"slug,plan\n", "'name' is missing"),
        (b"name,slug,colour\n", "'colour' is no column"),
        (b"name,slug,slug\n", "'slug' stands twice"),
        (b"", "'name' is missing"),
        (b"name,slug\n\xff\xfe,x\n", "UTF-8"),
        (b'name,slug\n"open,never closed\n', "no CSV"),
    ],
)
async def test_a_file_that_is_none_is_refused_with_the_reason(
    mis: CommandLine, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "tenants.csv"
    file.write_bytes(content)
    result = await mis("tenants", "import", file)
    assert (result.exit_code, said in result.stderr) == (CANNOT_START, True), result.stderr
    missing = await mis("tenants", "import", tmp_path / "nowhere.csv")
    assert (missing.exit_code, "cannot be read" in missing.stderr) == (CANNOT_START, True)


async def test_a_spreadsheets_mark_at_the_beginning_is_no_part_of_a_name(
    mis: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.csv"
    file.write_bytes(b"\xef\xbb\xbf" + f"Name,SLUG\r\nBom,{new_slug('i')}\r\n".encode())
    _, sums = await bring_in(mis, file)
    assert sums["created"] == 1
