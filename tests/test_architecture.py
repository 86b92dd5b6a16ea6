"""The arrows of the house, held by reading every module's imports (docs: architecture §2)."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
MIDDLE: Final = {"mis_http", "mis_accounts", "mis_jobs"}
# A mail is a job, so its room stands on that of the jobs (docs/decisions/0006-mail-is-a-job.md).
MAIL: Final = {"mis_mail"}
BELOW: Final = {"mis_models", "mis_tenancy"}
SERVICES: Final = {"tenant_service", "auth_service", "user_service"}

# Which of our packages each package may import.
ARROWS: Final[dict[str, set[str]]] = {
    "mis_tenancy": set(),
    "mis_models": {"endings", "mis_tenancy"},
    **dict.fromkeys(MIDDLE, BELOW),
    "mis_mail": {"mis_jobs"} | BELOW,
    **dict.fromkeys(SERVICES, MIDDLE | MAIL | BELOW),
    "mis_worker": SERVICES | MIDDLE | MAIL | BELOW,
    "mis_cli": SERVICES | MIDDLE | MAIL | BELOW | {"mis_worker"},
}

# Within a feature: which of its modules each module may not import.
FEATURE: Final[dict[str, set[str]]] = {
    "endpoints": {"repository", "jobs"},
    "service": {"endpoints"},
    "schemas": {"endpoints", "repository", "jobs"},
    "repository": {"endpoints", "service", "schemas", "jobs"},
    "jobs": {"endpoints", "schemas"},
}

# The packages' own modules that speak SQL; everywhere else it lives in a repository.
SPEAK_SQL: Final = {
    "mis_tenancy": {
        "api_keys",
        "audit_changes",
        "catalogue",
        "database",
        "directory",
        "door",
        "encryption",
        "insertion",
        "ledger",
        "poolers",
        "published_keys",
        "revocations",
        "rows",
        "session",
        "statements",
        "store",
        "system_transactions",
        "tables",
        "turns",
        "usage_tables",
        "wal",
    },
    "mis_models": {
        "accounts",
        "alerts",
        "billing",
        "endings",
        "exports",
        "health",
        "plan_migrations",
        "imports",
        "media",
        "platform",
        "tenants",
        "verifications",
        "webhooks",
        "work",
    },
    # The middle rooms' repositories, by the names of what they keep.
    "mis_http": {"kept_answers", "looks"},
    "mis_accounts": {
        *(
            "account_links",
            "claims",
            "departures",
            "members",
            "recent_sign_ins",
            "reservations",
            "seats",
            "space",
            "withdrawals",
        ),
    },
    "mis_jobs": {"jobs", "outbox", "schedules"},
}
SQL_WORDS: Final = frozenset(
    ["select", "insert", "update", "delete", "text", "exists", "union", "union_all", "values"]
)
SQL_TEXT: Final = re.compile(
    r"\s*(?:select\b.*\bfrom|insert into|update \w+ set|delete from|with \w+ as)\b", re.I | re.S
)

BANNED_NAMES: Final = {"utils", "util", "common", "core", "helpers", "helper", "misc", "base"}
LONGEST: Final = 400


class Module:
    """One source file: its dotted name, its text and its syntax tree."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        parts = path.relative_to(root).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.package = parts[0]
        self.text = path.read_text()
        self.tree = ast.parse(self.text)

    @property
    def stem(self) -> str:
        return self.path.stem

    def imports(self) -> Iterator[tuple[str, str]]:
        """Yield (module, name) for everything imported; name is empty for `import module`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.module or "", alias.name) for alias in node.names)

    def imported_modules(self) -> set[str]:
        """Return the dotted names of what is imported, `from package import module` included."""
        return {name for module, member in self.imports() for name in (module, f"{module}.{member}")}

    def texts(self) -> Iterator[str]:
        """Yield every string that is written out."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value

    def calls(self) -> Iterator[str]:
        """Yield the last name of everything called."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", ""))


@cache
def modules() -> list[Module]:
    return [
        Module(path, root)
        for root in (ROOT / "shared", ROOT / "services")
        for path in sorted(root.rglob("*.py"))
        if "__pycache__" not in path.parts
    ]


def offenders(broken: Iterator[str]) -> list[str]:
    return sorted(set(broken))


def test_every_package_is_a_known_room() -> None:
    assert {module.package for module in modules()} == set(ARROWS)


def test_packages_import_only_what_their_arrows_point_to() -> None:
    def broken() -> Iterator[str]:
        for module in modules():
            for imported in module.imported_modules():
                package = imported.partition(".")[0]
                if package in ARROWS and package not in ARROWS[module.package] | {module.package}:
                    yield f"{module.name} imports {imported}"

    assert offenders(broken()) == []


def test_nothing_of_the_suite_imports_its_tests_or_benchmarks() -> None:
    assert not [
        module.name
        for module in modules()
        if {"tests", "benchmarks", "pytest"} & {name.partition(".")[0] for name in module.imported_modules()}
    ]


def test_within_a_feature_arrows_point_from_endpoints_to_the_repository() -> None:
    def broken() -> Iterator[str]:
        for module in modules():
            for imported in module.imported_modules():
                role = imported.rpartition(".")[2]
                if (
                    module.package in SERVICES
                    and imported.startswith(f"{module.package}.")
                    and role in FEATURE.get(module.stem, set())
                ):
                    yield f"{module.name} imports {imported}"

    assert offenders(broken()) == []


def test_rules_know_no_http_and_endpoints_know_no_tables() -> None:
    def broken() -> Iterator[str]:
        for module in modules():
            if module.package not in SERVICES:
                continue
            for imported in module.imported_modules():
                package = imported.partition(".")[0]
                if module.stem in ("service", "repository") and package in ("fastapi", "starlette"):
                    yield f"{module.name} imports {imported}"
                if module.stem == "endpoints" and (package in ("mis_models", "sqlalchemy")):
                    yield f"{module.name} imports {imported}"

    assert offenders(broken()) == []


def test_sql_lives_in_repositories_and_the_packages_own_modules() -> None:
    def broken() -> Iterator[str]:
        for module in modules():
            if module.stem.endswith("repository") or module.stem in SPEAK_SQL.get(module.package, set()):
                continue
            for source, name in module.imports():
                if source.partition(".")[0] == "sqlalchemy" and name in SQL_WORDS:
                    yield f"{module.name} imports {name}"
            # The command line prepares databases, which is no tenant's business.
            statements = (
                text for text in module.texts() if module.package != "mis_cli" and SQL_TEXT.match(text)
            )
            yield from (f"{module.name} holds the statement {text[:40]!r}" for text in statements)

    assert offenders(broken()) == []


def test_only_settings_read_the_environment() -> None:
    def broken() -> Iterator[str]:
        for module in modules():
            for node in ast.walk(module.tree):
                read = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
                if read and module.stem != "settings":
                    yield module.name

    assert offenders(broken()) == []


def test_imports_stand_at_the_top() -> None:
    def broken() -> Iterator[str]:
        for module in modules():
            for function in ast.walk(module.tree):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    for node in ast.walk(function):
                        if isinstance(node, ast.Import | ast.ImportFrom):
                            yield f"{module.name}:{node.lineno}"

    assert offenders(broken()) == []


def test_the_package_that_others_adopt_needs_fastapi_in_one_module_only() -> None:
    inside = [module for module in modules() if module.package == "mis_tenancy"]
    users = {
        module.name
        for module in inside
        if any(name.split(".")[0] == "fastapi" for name in module.imported_modules())
    }
    assert users == {"mis_tenancy.fastapi"}


def test_modules_are_named_for_what_they_hold() -> None:
    named = {part for module in modules() for part in module.name.split(".")}
    assert not named & BANNED_NAMES


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    long = [f"{module.name}: {lines}" for module in modules() if (lines := module.text.count("\n")) > LONGEST]
    assert long == []


def test_only_the_doors_commit() -> None:
    doors = {"mis_tenancy.postgres.pool"}
    assert not {module.name for module in modules() if "commit" in module.calls()} - doors


def test_only_the_wire_binds_a_transaction_to_a_tenant() -> None:
    """Catalogue 36."""
    setting = re.compile(r"\bset\b[^;\n]*app\.tenant_id|set_config\s*\(\s*'app", re.I)
    found = {module.name for module in modules() if setting.search(module.text)}
    # The connection sends it, and names it to refuse it.
    assert found == {"mis_tenancy.postgres.connection"}


def test_only_the_doors_and_composition_roots_make_engines_pools_or_sessions() -> None:
    makers = {"create_async_engine", "create_engine", "create_pool", "async_sessionmaker", "AsyncSession"}
    found = {module.name for module in modules() if (makers | {"engine_of"}) & set(module.calls())}
    doors = {"mis_tenancy.database", "mis_tenancy.postgres.engines", "mis_tenancy.postgres.pool"}
    assert found <= doors


def test_endpoints_refuse_through_the_error_tree_and_select_nothing() -> None:
    def broken() -> Iterator[str]:
        for module in modules():
            if module.stem == "endpoints" and {"select", "HTTPException"} & set(module.calls()):
                yield module.name
            if module.package in SERVICES and any(name == "HTTPException" for _, name in module.imports()):
                yield module.name

    assert offenders(broken()) == []


def test_bodies_take_no_text_for_a_number_and_no_number_for_a_truth() -> None:
    loose = re.compile(r"\b(?:int|bool|float)\b")
    found = [
        f"{module.name}: {ast.unparse(field.target)}"
        for module in modules()
        for body in ast.walk(module.tree)
        if isinstance(body, ast.ClassDef) and "RequestBody" in {ast.unparse(base) for base in body.bases}
        for field in body.body
        if isinstance(field, ast.AnnAssign) and loose.search(ast.unparse(field.annotation))
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        module.name for module in modules() if module.text.strip() and not ast.get_docstring(module.tree)
    ]
    assert silent == []


def test_no_task_is_left_in_a_comment() -> None:
    tasks = re.compile(r"#.*\b(?:TODO|FIXME|XXX|HACK)\b")
    assert not [module.name for module in modules() if tasks.search(module.text)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import mis_models.accounts", "mis_models"),
        ("from mis_http import pages", "mis_http.pages"),
        ("def f():\n    from auth_service.login import service", "auth_service.login.service"),
    ],
)
def test_an_import_is_seen_however_it_is_written(tmp_path: Path, source: str, found: str) -> None:
    path = tmp_path / "mis_tenancy" / "sample.py"
    path.parent.mkdir()
    path.write_text(source)
    assert any(name.startswith(found) for name in Module(path, tmp_path).imported_modules())


def test_no_dependency_is_sent_to_a_thread() -> None:
    """FastAPI runs a plain function among its dependencies in a thread, at more than most of them cost."""

    def broken() -> Iterator[str]:
        asked = {
            argument.id
            for module in modules()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Depends"
            for argument in node.args
            if isinstance(argument, ast.Name)
        }
        for module in modules():
            for node in module.tree.body:
                if isinstance(node, ast.FunctionDef) and node.name in asked and "Depends" in module.text:
                    yield f"{module.name}.{node.name}"

    assert offenders(broken()) == []
