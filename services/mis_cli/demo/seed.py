"""Fills a running suite with the demo: each tenant by the operator, its users by its owner's import.

Nothing goes in by SQL, so the demo also shows that the real path works. A tenant that is there already is
left as it is; one whose users did not all arrive (the first run was stopped) is given the missing ones,
because an import refuses an address it has seen. What somebody has suspended, deleted or given another
password meanwhile is his affair, and no reason not to start.
"""

import csv
import io
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from mis_cli.embedded.secrets import generated
from mis_cli.running.launcher import RunningSuite
from mis_cli.running.run_record import DemoTenant

_USERS: Final = files("mis_cli.demo") / "users.csv"
# Rows an import takes at a time: small enough for the bar to move, large enough for few requests.
_BATCH: Final = 100


class SeedError(RuntimeError):
    """The suite refused a step of the seeding."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One tenant of the demo; of its seats the owner takes one."""

    slug: str
    name: str
    plan: str
    users: int

    @property
    def owner_email(self) -> str:
        return f"owner@{self.slug}.example"


DEMO: Final = (
    _Wanted("corner-bakery", "Corner Bakery", "basic", 60),
    _Wanted("riverside-clinic", "Riverside Clinic", "premium", 500),
    _Wanted("meridian-bank", "Meridian Bank", "enterprise", 500),
    _Wanted("atlas-cloud", "Atlas Cloud", "custom", 500),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A suite to fill, whose operator signs in; the owners' passwords are kept in `data_dir`."""

    base_url: str
    operator_email: str
    operator_password: str
    data_dir: Path


async def seed_demo(suite: RunningSuite) -> Sequence[DemoTenant]:
    """Fill the suite that this process runs."""
    made = suite.provisions
    where = suite.record.path.parent
    return await fill(Target(suite.base_url, made.operator_email, made.operator_password, where))


async def fill(target: Target) -> Sequence[DemoTenant]:
    """Make the demo tenants that are missing, with their users; return how to sign in to each."""
    kept = target.data_dir / "demo.json"
    passwords = generated(kept, tuple(want.slug for want in DEMO), _owner_password)
    progress = Progress(
        TextColumn("  seeding {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
    )
    async with httpx.AsyncClient(base_url=target.base_url, timeout=60) as client:
        seeder = _Seeder(client, progress)
        await seeder.sign_in(target.operator_email, target.operator_password)
        with progress:
            made = [await seeder.make(want, passwords[want.slug]) for want in DEMO]
    return [tenant for tenant in made if tenant is not None]


class _Seeder:
    def __init__(self, client: httpx.AsyncClient, progress: Progress) -> None:
        self._client = client
        self._progress = progress
        self._operator = ""

    async def sign_in(self, email: str, password: str) -> None:
        """Sign the operator in."""
        self._operator = await self._token(
            "/api/v1/auth/operator/login", {"email": email, "password": password}
        )

    async def make(self, want: _Wanted, password: str) -> DemoTenant | None:
        """Make one tenant and its users, as far as they are missing; return None for one that is gone."""
        bar = self._progress.add_task(want.slug, total=want.users)
        tenant = await self._tenant(want, password)
        if tenant is None:
            return None
        if tenant["status"] == "active" and (token := await self._owners_token(want, password)) is not None:
            await self._users(want, token, bar)
        return DemoTenant(want.slug, str(tenant["id"]), want.plan, want.owner_email, password)

    async def _owners_token(self, want: _Wanted, password: str) -> str | None:
        body = {"email": want.owner_email, "password": password, "tenantSlug": want.slug}
        answer = await self._send("POST", "/api/v1/auth/login", "", expected=(200, 401), json=body)
        return str(answer.json()["token"]) if answer.status_code == 200 else None

    async def _tenant(self, want: _Wanted, password: str) -> dict[str, Any] | None:
        owner = {"email": want.owner_email, "name": "Demo Owner", "password": password}
        body = {"name": want.name, "slug": want.slug, "plan": want.plan, "owner": owner}
        answer = await self._send(
            "POST", "/api/v1/tenants/create", self._operator, expected=(201, 409), json=body
        )
        if answer.status_code == 409:
            path = f"/api/v1/tenants/{want.slug}"
            answer = await self._send("GET", path, self._operator, expected=(200, 404))
        document: dict[str, Any] = answer.json()
        return None if answer.status_code == 404 else document

    async def _users(self, want: _Wanted, token: str, bar: TaskID) -> None:
        rows = _rows(want.users - 1)
        last = {"q": rows[-1][0], "limit": "1"}
        if (await self._send("GET", "/api/v1/users", token, params=last)).json():
            self._progress.update(bar, completed=want.users)
            return
        self._progress.update(bar, completed=1)
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            headers = {"Content-Type": "text/csv"}
            await self._send("POST", "/api/v1/users/import", token, content=_csv(batch), headers=headers)
            self._progress.advance(bar, len(batch))

    async def _token(self, path: str, body: dict[str, str]) -> str:
        return str((await self._send("POST", path, "", json=body)).json()["token"])

    async def _send(
        self, method: str, path: str, token: str, *, expected: tuple[int, ...] = (200,), **options: Any
    ) -> httpx.Response:
        given = options.pop("headers", None)
        headers: dict[str, str] = {**given} if isinstance(given, dict) else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        answer = await self._client.request(method, path, headers=headers, **options)
        if answer.status_code not in expected:
            raise SeedError(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        return answer


def _owner_password() -> str:
    """Return a random password that every plan's policy takes."""
    return f"{secrets.token_urlsafe(18)}-Aa1"


def _rows(count: int) -> list[list[str]]:
    lines = _USERS.read_text(encoding="utf-8").splitlines()
    return list(csv.reader(lines[1 : count + 1]))


def _csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([["email", "name", "role"], *rows])
    return text.getvalue().encode()
