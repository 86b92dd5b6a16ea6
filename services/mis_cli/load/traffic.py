"""The traffic: what users of a product do all day, in proportion, and what nobody should ever be able to.

Every answer is looked at: each row in it must be the tenant's own. And now and then a user asks for what he
has found out to be another tenant's, which must be refused as if it were not there.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

import httpx

from mis_cli.load.asking import Asking
from mis_cli.load.checks import Checks
from mis_cli.load.populace import API, LOGIN, MARK, MEDIA, NAMES, TENANTS, USERS, Member, Session

# More users and files than these are taken away again, so that a long test does not fill the disk.
_MOST_NEWCOMERS: Final = 20
_MOST_FILES: Final = 20
# What a foreign request may be answered with; of these only the refusals are right.
_GIVEN_AWAY: Final = (200, 201, 204)

Action = Callable[[Session], Awaitable[None]]


class Traffic:
    """One tenant's traffic; `others` are the tenants that it must not reach."""

    def __init__(self, member: Member, others: Sequence[Member], asking: Asking, checks: Checks) -> None:
        self._member = member
        self._others = others
        self._asking = asking
        self._checks = checks
        self._numbers = count(1)
        self._weights: Mapping[Action, int] = {
            self._list_users: 24,
            self._search: 12,
            self._read_user: 14,
            self._list_files: 8,
            self._download: 7,
            self._read_configuration: 6,
            self._read_usage: 4,
            self._who_am_i: 5,
            self._change_user: 7,
            self._come_or_go: 5,
            self._upload_or_delete: 4,
            self._refresh: 1,
            self._sign_in: 1,
            self.reach_for_another: 4 if others else 0,
        }

    async def step(self) -> None:
        """Have one of the users do one thing."""
        session = random.choice(self._member.sessions)  # noqa: S311  # traffic, not secrets
        for one in (session, self._member.owner):
            if one.is_stale:
                await self._refresh(one)
        (action,) = random.choices(list(self._weights), list(self._weights.values()))  # noqa: S311
        await action(session)

    async def _get(self, action: str, path: str, session: Session, **query: Any) -> httpx.Response | None:
        return await self._asking.ask(action, "GET", path, 200, headers=session.headers, params=query)

    async def _list_users(self, session: Session) -> None:
        self._checks.users("list users", await self._get("list users", USERS, session, limit=50))

    async def _search(self, session: Session) -> None:
        name = random.choice(NAMES).partition(" ")[0].casefold()  # noqa: S311
        self._checks.users("search users", await self._get("search users", USERS, session, q=name, limit=50))

    async def _read_user(self, session: Session) -> None:
        path = f"{USERS}/{random.choice(self._member.users)}"  # noqa: S311
        self._checks.user("read a user", await self._get("read a user", path, session))

    async def _list_files(self, session: Session) -> None:
        self._checks.files("list files", await self._get("list files", MEDIA, session, limit=50))

    async def _download(self, session: Session) -> None:
        if not self._member.files:
            await self.upload(self._member.owner)
            return
        path = f"{MEDIA}/{random.choice(self._member.files)}/content"  # noqa: S311
        # A file that a colleague has just deleted is not there any more.
        answer = await self._asking.ask("download", "GET", path, (200, 404), headers=session.headers)
        self._checks.content("download", answer)

    async def _read_configuration(self, session: Session) -> None:
        path = f"{TENANTS}/{self._member.id}/config/{MARK}"
        answer = await self._get("read configuration", path, self._member.owner)
        self._checks.mark("read configuration", answer)

    async def _read_usage(self, session: Session) -> None:
        path = f"{TENANTS}/{self._member.id}/usage"
        answer = await self._get("read usage", path, session, timeRange="24h")
        self._checks.own_id("read usage", answer, "tenantId")

    async def _who_am_i(self, session: Session) -> None:
        answer = await self._get("who am I", f"{API}/auth/me", session)
        self._checks.own_id("who am I", answer, "tenant", "id")

    async def _change_user(self, session: Session) -> None:
        path, body = f"{USERS}/{random.choice(self._member.users)}", {"attributes": {"seen": "today"}}  # noqa: S311
        headers = self._member.owner.headers
        answer = await self._asking.ask("change a user", "PATCH", path, 200, headers=headers, json=body)
        self._checks.user("change a user", answer)

    async def _come_or_go(self, session: Session) -> None:
        headers, newcomers = self._member.owner.headers, self._member.newcomers
        if len(newcomers) >= _MOST_NEWCOMERS:
            path = f"{USERS}/{newcomers.pop()}"
            await self._asking.ask("delete a user", "DELETE", path, 204, headers=headers)
            return
        email = f"new-{next(self._numbers)}-{random.randrange(10**9)}{self._member.domain}"  # noqa: S311
        body = {"email": email, "name": random.choice(NAMES)}  # noqa: S311
        # On a plan whose seats are taken there is no room, which is as right an answer.
        answer = await self._asking.ask(
            "create a user", "POST", USERS, (201, 409), headers=headers, json=body
        )
        if answer is not None and answer.status_code == 201 and self._checks.user("create a user", answer):
            newcomers.append(answer.json()["id"])

    async def _upload_or_delete(self, session: Session) -> None:
        files = self._member.files
        if len(files) < _MOST_FILES or not session.own_files:
            await self.upload(session)
            return
        # Somebody else's file is not a member's to delete.
        file_id = session.own_files.pop()
        files.remove(file_id)
        path = f"{MEDIA}/{file_id}"
        await self._asking.ask("delete a file", "DELETE", path, 204, headers=session.headers)

    async def upload(self, session: Session) -> None:
        """Upload a file that names its tenant."""
        headers = session.headers | {"Content-Type": "text/plain"}
        query = {"filename": f"{self._member.slug}-{next(self._numbers)}.txt"}
        content = self._member.content
        answer = await self._asking.ask(
            "upload", "POST", MEDIA, 201, headers=headers, params=query, content=content
        )
        if self._checks.file("upload", answer) and answer is not None:
            file_id = answer.json()["id"]
            self._member.files.append(file_id)
            session.own_files.append(file_id)

    async def _refresh(self, session: Session) -> None:
        async with session.lock:
            body = {"refreshToken": session.refresh_token}
            answer = await self._asking.ask("refresh", "POST", f"{API}/auth/refresh", 200, json=body)
            self._take(session, "refresh", answer)

    async def _sign_in(self, session: Session) -> None:
        async with session.lock:
            body = {
                "email": session.email,
                "password": session.password,
                "tenantSlug": self._member.slug,
            }
            answer = await self._asking.ask("sign in", "POST", LOGIN, 200, json=body)
            self._take(session, "sign in", answer)

    def _take(self, session: Session, action: str, answer: httpx.Response | None) -> None:
        if self._checks.own_id(action, answer, "tenant", "id") and answer is not None:
            session.renew(answer.json())

    async def reach_for_another(self, session: Session) -> None:
        """Ask for another tenant's user, file or account, or say that one is in it."""
        other, headers = random.choice(self._others), session.headers  # noqa: S311
        reach = [
            ("GET", f"{USERS}/{random.choice(other.users)}", headers, 404),  # noqa: S311
            ("PATCH", f"{USERS}/{random.choice(other.users)}", self._member.owner.headers, 404),  # noqa: S311
            ("GET", f"{TENANTS}/{other.id}/usage", headers, 404),
            ("GET", USERS, headers | {"X-Tenant-ID": other.id}, 403),
        ]
        if other.files:
            reach.append(("GET", f"{MEDIA}/{random.choice(other.files)}/content", headers, 404))  # noqa: S311
        method, path, given, refusal = random.choice(reach)  # noqa: S311
        body = {"json": {"name": "Mallory"}} if method == "PATCH" else {}
        expected = (refusal, *_GIVEN_AWAY)
        answer = await self._asking.ask("reach for another", method, path, expected, headers=given, **body)
        self._checks.refused("reach for another", answer, f"{method} {path}")
