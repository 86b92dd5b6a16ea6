"""Sessions against a model: whatever is signed in, refreshed, signed out, revoked and rotated in any order.

The machine's rules ask the real suite and tell the model; each answer must be the one that the model
foresees. Hypothesis is synchronous and the suite is not, so the machine runs in a thread and its rules hand
their requests to the suite's event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from auth_service.refresh import service as refreshing
from tests.answers import bearer, fine, refused
from tests.auth_service.requests import AUTH, USERS, age_rotation, claims, logout, me, refresh, sign_in
from tests.suite import PUBLIC_URL, Suite, TenantHandle, UserHandle, fresh_address

T = TypeVar("T")

# So long that a slow machine does not outlast it; rotations are aged beyond it on purpose.
GRACE = timedelta(hours=1)
# Which of the tokens that there are; the machine takes it modulo their number.
ANY = st.integers(0, 2**16)


@dataclass(eq=False)
class ModelSession:
    """What must be true of one session: `epoch` is the user's, since which its access tokens are good."""

    id: str
    user: "ModelUser"
    is_live: bool = True


@dataclass(eq=False)
class ModelUser:
    """A user, and every session of theirs that this machine has opened."""

    handle: UserHandle
    epoch: int = 0
    sessions: list[ModelSession] = field(default_factory=list)

    def end(self, *spared: ModelSession) -> None:
        for session in self.sessions:
            session.is_live = session.is_live and session in spared


@dataclass(eq=False)
class Access:
    """An access token, and its user's epoch when it was signed."""

    text: str
    session: ModelSession
    epoch: int

    @property
    def is_good(self) -> bool:
        return self.session.is_live and self.epoch == self.session.user.epoch


@dataclass(eq=False)
class Renewal:
    """A refresh token: `current`, `rotated` or `void`, and what replaced it."""

    text: str
    session: ModelSession
    state: str = "current"
    successor: "Renewal | None" = None
    is_in_grace: bool = True


@dataclass(frozen=True)
class Stage:
    """The suite, its loop, and the tenant whose two users sign in."""

    suite: Suite
    loop: asyncio.AbstractEventLoop
    tenant: TenantHandle
    other: TenantHandle
    users: tuple[UserHandle, ...]

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(300)


class Patient(httpx.AsyncBaseTransport):
    """Sends each request from an address of its own, and comes back when it is asked to.

    A token that is dead makes its request an anonymous one, and these are limited for each address. A starved
    machine may be late to hear the news, and answers 503.
    """

    def __init__(self, suite: Suite) -> None:
        self._suite = suite

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(30):
            answer = await self._sent(request)
            if answer.status_code != 503:
                break
            await answer.aread()
            await asyncio.sleep(1)
        return answer

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        client = (fresh_address(), 50_000)
        return await httpx.ASGITransport(app=self._suite.gateway, client=client).handle_async_request(request)


def machine_on(stage: Stage) -> type[RuleBasedStateMachine]:
    """Return the machine that plays on `stage`."""
    suite, tenant, now = stage.suite, stage.tenant, stage.now

    async def heard() -> None:
        for service in suite.apps:
            await suite.tenancy(service).feed.poll()

    class Sessions(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.users = [ModelUser(handle) for handle in stage.users]
            self.accesses: list[Access] = []
            self.renewals: list[Renewal] = []
            # Anew each time: many machines take longer than an access token lives.
            self.owner = bearer(fine(now(sign_in(suite, tenant)))["token"])
            now(suite.sign_in_operator())
            for user in self.users:
                user.epoch = claims(fine(now(self.signed_in(user)))["token"])["ver"][0]

        async def signed_in(self, user: ModelUser) -> httpx.Response:
            return await sign_in(suite, tenant, email=user.handle.email, password=user.handle.password)

        def issued(self, answer: httpx.Response, session: ModelSession) -> Renewal:
            pair = fine(answer)
            renewal = Renewal(pair["refreshToken"], session)
            self.accesses.append(Access(pair["token"], session, session.user.epoch))
            self.renewals.append(renewal)
            return renewal

        @initialize()
        def both_sign_in(self) -> None:
            for at in range(len(stage.users)):
                self.login(at)

        @rule(at=st.integers(0, len(stage.users) - 1))
        def login(self, at: int) -> None:
            user = self.users[at]
            answer = now(self.signed_in(user))
            session = ModelSession(claims(fine(answer)["token"])["sid"], user)
            assert session.id not in {one.id for each in self.users for one in each.sessions}
            user.sessions.append(session)
            self.issued(answer, session)

        def access(self, at: int) -> Access:
            return self.accesses[at % len(self.accesses)]

        def renewal(self, at: int) -> Renewal:
            return self.renewals[at % len(self.renewals)]

        @rule(at=ANY)
        def exchange(self, at: int) -> None:
            self.exchanged(self.renewal(at))

        @rule(at=ANY)
        def exchange_a_used_one(self, at: int) -> None:
            if used := [one for one in self.renewals if one.state != "current" and one.session.is_live]:
                self.exchanged(used[at % len(used)])

        def exchanged(self, token: Renewal) -> None:
            answer = now(refresh(suite, token.text))
            session, successor = token.session, token.successor
            if not session.is_live:
                refused(answer, 401, "token_revoked")
            elif token.state == "void":
                refused(answer, 409, "refresh_superseded")
            elif token.state == "current":
                token.state, token.successor = "rotated", self.issued(answer, session)
            elif token.is_in_grace and successor is not None and successor.state == "current":
                successor.state, token.successor = "void", self.issued(answer, session)
            else:
                refused(answer, 401, "token_revoked")
                session.is_live = False

        @rule(at=ANY)
        def exchange_at_another_tenant(self, at: int) -> None:
            token = self.renewal(at)
            answer = now(refresh(suite, token.text, headers={"X-Tenant-Slug": stage.other.slug}))
            refused(answer, 401, "token_invalid")

        @rule(at=ANY)
        def let_the_grace_pass(self, at: int) -> None:
            token = self.renewal(at)
            if token.state == "rotated":
                now(age_rotation(suite, tenant, token.text, GRACE * 2))
                token.is_in_grace = False

        @rule(at=ANY)
        def sign_out_by_refresh_token(self, at: int) -> None:
            token = self.renewal(at)
            fine(now(logout(suite, {"refreshToken": token.text})), 204)
            token.session.is_live = False

        @rule(at=ANY)
        def sign_out_by_bearer(self, at: int) -> None:
            token = self.access(at)
            fine(now(logout(suite, headers=bearer(token.text))), 204)
            # Also with a token that a change of role has ended: who signs out is out.
            token.session.is_live = False

        @rule(at=ANY, of=ANY)
        def revoke_one(self, at: int, of: int) -> None:
            token, other = self.access(at), self.renewal(of)
            path = f"{AUTH}/sessions/{other.session.id}"
            answer = now(suite.client.delete(path, headers=bearer(token.text)))
            if not token.is_good:
                refused(answer, 401, "token_revoked")
            elif other.session.is_live and other.session.user is token.session.user:
                fine(answer, 204)
                other.session.is_live = False
            else:
                refused(answer, 404, "session_not_found")

        @rule(at=ANY)
        def revoke_all_others(self, at: int) -> None:
            token = self.access(at)
            answer = now(suite.client.delete(f"{AUTH}/sessions", headers=bearer(token.text)))
            if token.is_good:
                fine(answer, 204)
                token.session.user.end(token.session)
            else:
                refused(answer, 401, "token_revoked")

        @rule(at=st.integers(0, len(stage.users) - 1), role=st.sampled_from(["viewer", "member", "admin"]))
        def change_role(self, at: int, role: str) -> None:
            user = self.users[at]
            path = f"{USERS}/{user.handle.id}"
            before = fine(now(suite.client.get(path, headers=self.owner)))["role"]
            fine(now(suite.client.patch(path, json={"role": role}, headers=self.owner)))
            user.epoch += int(role != before)
            now(heard())

        @rule(at=st.integers(0, len(stage.users) - 1))
        def disable_and_enable(self, at: int) -> None:
            user = self.users[at]
            for status in ("disabled", "active"):
                path = f"{USERS}/{user.handle.id}"
                fine(now(suite.client.patch(path, json={"status": status}, headers=self.owner)))
                user.epoch += 1
            user.end()
            now(heard())

        @rule()
        def rotate_signing_keys(self) -> None:
            fine(now(suite.client.post(f"{AUTH}/signing-keys/rotate", headers=suite.operator)))

        @rule(at=ANY)
        def use(self, at: int) -> None:
            token = self.access(at)
            now(heard())
            for answer in (
                now(me(suite, token.text)),
                now(suite.client.get(f"{USERS}/me", headers=bearer(token.text))),
            ):
                if token.is_good:
                    fine(answer)
                else:
                    refused(answer, 401, "token_revoked")

        @rule(at=ANY)
        def list_sessions(self, at: int) -> None:
            token = self.access(at)
            if not token.is_good:
                return
            listing = suite.client.get(f"{AUTH}/sessions?limit=200", headers=bearer(token.text))
            shown = {one["id"] for one in fine(now(listing))}
            for session in token.session.user.sessions:
                assert (session.id in shown) is session.is_live

        def teardown(self) -> None:
            """Leave no session open, so that the next machine's lists are short."""
            for user in self.users:
                user.end()
                now(self.close(user))

        async def close(self, user: ModelUser) -> None:
            token = fine(await self.signed_in(user))
            fine(await suite.client.delete(f"{AUTH}/sessions", headers=bearer(token["token"])), 204)
            fine(await logout(suite, {"refreshToken": token["refreshToken"]}), 204)

    return Sessions


def patient_client_at(suite: Suite, address: str, base_url: str = PUBLIC_URL) -> httpx.AsyncClient:
    """Return a client with patience, whatever the address."""
    return httpx.AsyncClient(transport=Patient(suite), base_url=base_url)


@pytest.fixture(scope="module")
async def stage(suite: Suite) -> AsyncIterator[Stage]:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    users = (await suite.user(tenant, "member"), await suite.user(tenant, "viewer"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(refreshing, "GRACE", GRACE)
        patched.setattr(Suite, "client_at", patient_client_at)
        patched.setattr(suite, "client", suite.client_at(fresh_address()))
        yield Stage(suite, asyncio.get_running_loop(), tenant, other, users)


async def play(stage: Stage, examples: int, steps: int, *, always_the_same: bool) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=always_the_same,
        # The first divergence is told as it is: to make it shorter would take hundreds of runs.
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, machine_on(stage), settings=chosen)


async def test_sessions_do_as_the_model_says(stage: Stage) -> None:
    """Catalogue 67, 69, 72, 74, 77."""
    await play(stage, examples=8, steps=30, always_the_same=True)


@pytest.mark.deep
async def test_sessions_do_as_the_model_says_ten_thousand_times(stage: Stage) -> None:
    """Catalogue 67, 69, 72, 74, 77: 200 runs of 50 steps."""
    await play(stage, examples=200, steps=50, always_the_same=False)
