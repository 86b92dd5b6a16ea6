"""Every command in the README and the docs is run here, or says what it needs and is parsed.

A fence of `sh` or `bash` runs with `BASE`, `TOKEN` and `TENANT` set, as the pages tell their readers, against
a suite behind a real server. One that the tests' machine may not be able to run is marked in its info string
(`bash needs: docker`) and only parsed. `make` targets cannot run inside the run that they start; the
table below says what runs in their place.
"""

import ast
import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from mis_worker.app import working
from tests.integration.wire import served
from tests.suite import Suite, TenantHandle

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
NEEDS: Final = re.compile(r"(?:sh|bash) needs: (?:docker|kubectl|browser)")

# What each `make` target comes to, and the tests that do the same.
TARGETS: Final = {
    "make run": ("mis run", "tests/mis_cli/test_launcher.py"),
    "make test-pooler": ("--pooler tests/isolation tests/integration", "tests/mis_tenancy/test_poolers.py"),
    "make test-redis-cluster": (
        "--redis-cluster tests/isolation tests/integration",
        "tests/mis_tenancy/test_redis_cluster.py",
    ),
    "make test": ("-m pytest", "tests/test_documents.py"),
}


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block: where it stands, what its info string says, and its lines."""

    page: str
    line: int
    info: str
    text: str

    @property
    def is_command(self) -> bool:
        return self.info.split(" ")[0] in ("sh", "bash")

    @property
    def is_runnable(self) -> bool:
        return self.is_command and not NEEDS.fullmatch(self.info) and not self.is_target

    @property
    def is_target(self) -> bool:
        return self.is_command and self.text.startswith("make ")


def fences(page: Path) -> list[Fence]:
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    name = str(page.relative_to(ROOT))
    text = page.read_text()
    return [
        Fence(name, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2]) for match in found
    ]


FENCES: Final = [fence for page in PAGES for fence in fences(page)]


def each(chosen: list[Fence]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fence", chosen, ids=[f"{one.page}:{one.line}" for one in chosen])


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who follows the pages: an owner with a token, and where the suite is."""

    base: str
    tenant: TenantHandle


@pytest.fixture(scope="module")
async def reader(suite: Suite) -> AsyncIterator[Reader]:
    async with served(suite) as port, working(suite.settings):
        yield Reader(f"http://127.0.0.1:{port}", await suite.tenant("custom"))


# Each line of a page must work: an answer of 4xx or 5xx is a page that misleads.
PRELUDE: Final = """
set -euo pipefail
curl() { command curl --silent --show-error --fail-with-body --max-time 60 "$@"; }
"""


@each([fence for fence in FENCES if fence.is_runnable])
async def test_a_command_of_a_page_works(reader: Reader, tmp_path: Path, fence: Fence) -> None:
    assert shutil.which("curl"), "The pages' commands are curl's; install curl to run this test."
    tenant = reader.tenant
    told = {"BASE": reader.base, "TOKEN": tenant.owner_token, "TENANT": str(tenant.id)}
    script = PRELUDE + fence.text.replace("http://127.0.0.1:8000", reader.base)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **told},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def test_commands_that_need_more_than_we_have_are_at_least_commands() -> None:
    for fence in FENCES:
        if NEEDS.fullmatch(fence.info):
            subprocess.run(["bash", "-n"], input=fence.text.encode(), check=True)  # noqa: S607  # only parses


@each([fence for fence in FENCES if fence.is_target])
def test_a_target_that_a_page_names_does_what_it_says(fence: Fence) -> None:
    for line in fence.text.splitlines():
        command, stand_in = TARGETS[line.partition("  #")[0].strip()]
        target = line.split()[1]
        # The recipe stands in the Makefile under the target's name, with a line of help.
        rule = re.search(
            rf"^{target}:[^\n]*## [^\n]+\n((?:\t[^\n]+\n)+)", (ROOT / "Makefile").read_text(), re.M
        )
        assert rule is not None
        recipe = rule[1].replace("$(BIN)/", "").replace("$(PYTEST)", "python -m pytest")
        assert command in recipe
        assert (ROOT / stand_in).exists()


@each([fence for fence in FENCES if fence.info == "python"])
def test_python_of_a_page_compiles(fence: Fence) -> None:
    ast.parse(fence.text)


@each([fence for fence in FENCES if fence.info == "json"])
def test_json_of_a_page_is_json(fence: Fence) -> None:
    json.loads(fence.text)


def test_every_fence_says_what_it_is() -> None:
    known = re.compile(r"(?:sh|bash|python|json|sql|text|yaml|toml|http|mermaid)|" + NEEDS.pattern)
    assert [fence for fence in FENCES if not known.fullmatch(fence.info)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_that_a_page_points_to_is_there(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text())
    # README's last table has the design document's own paths in its left column.
    own = page.read_text().partition("| in the document | here |")[0]
    named = re.findall(r"`((?:docs|shared|services|tests|infrastructure)/[\w./-]+)`", own)
    missing = [name for name in linked if not (page.parent / name).exists()]
    missing += [name for name in named if not (ROOT / name.rstrip("/")).exists()]
    assert missing == []


def test_a_decision_is_the_only_one_of_its_number() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    assert [page.name for page in pages if not page.read_text().startswith(f"# {page.name[:4]} · ")] == []
