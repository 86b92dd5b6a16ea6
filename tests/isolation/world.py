"""The tenants between which the isolation matrix tries to pass, and how it asks."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import httpx
import pyotp

from mis_http.files.signed_links import LinkSigner
from mis_models.verifications import VerificationRow
from mis_tenancy.tenant import Role
from tenant_service.alerts.book import open_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tests.auth_service.authenticator import Quirks
from tests.auth_service.browsing import csrf_of
from tests.auth_service.factors import asked, enroll, with_app
from tests.auth_service.links import invite, new_address_link, reset_link, token_of
from tests.auth_service.operators import enroll_operator, new_operator, operator_asked, operator_with_app
from tests.auth_service.passkeys import browser_at, browser_of
from tests.auth_service.programs import add_api_key
from tests.isolation.routes import AUTH, HOME_DOMAIN, TENANTS, USERS, Call, Declared, look
from tests.purging import purge
from tests.suite import OPERATOR_EMAIL, PUBLIC_URL, Suite, TenantHandle, UserHandle, fresh_address
from tests.tenant_service.exports import finished
from tests.tenant_service.imports import archive_of, imported
from tests.tenant_service.job_queue import add_dead_job
from tests.user_service.media import stored
from tests.user_service.pictures import Reads

Headers = dict[str, str]
BASE_DOMAIN = "mis.local"


@dataclass(slots=True)
class World:
    """`home` asks, with one user of each role; `other` must stay out of sight; `closed` is suspended.

    All are on plan custom, so that no limit answers in a wall's place; `plain`, on basic, has no feature.
    """

    suite: Suite
    home: TenantHandle
    other: TenantHandle
    closed: TenantHandle
    plain: TenantHandle
    members: dict[Role, UserHandle]
    signed_out: UserHandle
    visitor: Headers
    home_ids: dict[str, str]
    other_ids: dict[str, str]

    def auth(self, role: Role) -> Headers:
        return self.members[role].auth

    def path(self, route: Declared, ids: dict[str, str] | None = None) -> str:
        """Return the route's path, with ids of `home` unless others are given."""
        return route.path.format_map(self.home_ids | (ids or {}))

    async def ask(
        self,
        route: Declared,
        headers: Headers,
        *,
        path: str | None = None,
        body: Any = None,
        query: Sequence[tuple[str, str]] = (),
        host: str | None = None,
        raw_headers: list[tuple[str, str]] | None = None,
    ) -> httpx.Response:
        """Send the route's request from an address of its own."""
        host = host or (BASE_DOMAIN if route.at_base else None)
        base = PUBLIC_URL if host is None else f"http://{host}"
        path = path or self.path(route)
        options: dict[str, Any] = {"params": [*route.query.items(), *self._proof(route, path), *query]}
        if isinstance(body, bytes):
            options["content"] = body
            headers = headers | {"Content-Type": route.content_type}
        elif body is not None:
            options["json"] = body
        sent = [*headers.items(), *(raw_headers or [])]
        async with self.suite.client_at(fresh_address(), base) as client:
            return await client.request(route.method, path, headers=httpx.Headers(sent), **options)

    async def call(self, route: Declared, role: Role | None = None) -> Call:
        """Prepare a request of the route that works: with things of its own, where it would use them up."""
        unique = secrets.token_hex(5)
        tenant, caller = self.home, None if role is None else self.members[role]
        if route.fresh in ("tenant", "suspended", "ending", "purged", "owners_app"):
            tenant = await self.suite.tenant("basic")
            if role is not None:
                caller = tenant.owner if role is Role.OWNER else await self.suite.user(tenant, role)
        if route.fresh == "owners_app":
            await with_app(self.suite, tenant, tenant.owner)
        if route.fresh == "suspended":
            await suspend(self.suite, tenant)
        if route.fresh == "ending":
            await end(self.suite, tenant)
            # Whoever had signed in before signs in anew, which the owner alone may.
            owner = tenant.owner
            caller = await self.suite.sign_in(tenant.slug, owner.email, owner.password)
        if route.fresh == "purged":
            await purge(self.suite, tenant.id)
        if route.fresh in ("user", *HALVES):
            caller = await self.suite.user(tenant, role or Role.VIEWER)
        call = Call(tenant, caller, {}, unique)
        if route.fresh == "invitation":
            call.params["token"] = token_of((await invite(self.suite, tenant))["acceptUrl"])
        if route.fresh == "form":
            call.params |= await form(self.suite, self.home)
        if route.fresh == "page":
            call.params |= await visitor(self.suite, self.home, self.home.owner)
        if route.fresh in ("reset", "email"):
            user = await self.suite.user(tenant)
            if route.fresh == "reset":
                link = await reset_link(self.suite, tenant, user.email)
            else:
                link = await new_address_link(self.suite, tenant, user, f"to-{unique}@matrix.example")
            call.params["token"] = token_of(link)
        if route.fresh in OPERATORS_HALVES:
            call.params |= await OPERATORS_HALVES[route.fresh](self.suite)
        if caller is not None and route.fresh in HALVES:
            call.params |= await HALVES[route.fresh](self.suite, tenant, caller)
        for name in self.home_ids:
            if f"{{{name}}}" in route.path:
                call.params[name] = await self._parameter(name, call)
        return call

    async def work(self, route: Declared, call: Call, headers: Headers, **changes: Any) -> httpx.Response:
        """Send the prepared request, with its body and the header that names its tenant to strangers."""
        body = None if route.body is None else route.body(call)
        if route.path.endswith("/operator/login"):
            body = {"email": OPERATOR_EMAIL, "password": self.suite.operator_password}
        by_suites_operator = headers.get("Authorization") == self.suite.operator["Authorization"]
        if by_suites_operator and "operator" in call.params:
            headers = headers | {"Authorization": call.params["operator"]}
        if "cookie" in call.params:
            headers = headers | {"Cookie": call.params["cookie"], "X-CSRF-Token": call.params["csrf"]}
        return await self.ask(route, headers, path=self.path(route, call.params), body=body, **changes)

    def _proof(self, route: Declared, path: str) -> list[tuple[str, str]]:
        """Return the query of a good link to the path, where the route asks for one."""
        if not route.signed:
            return []
        links: LinkSigner = self.suite.apps["tenant"].state.links
        tenant_id = UUID(path.split("/")[4])
        now, minute = datetime.now(UTC), timedelta(minutes=1)
        # What a link lets read, it lets be asked about.
        method = "GET" if route.method == "HEAD" else route.method
        return parse_qsl(urlsplit(links.link(method, path, tenant_id, now=now, lifetime=minute)).query)

    async def _parameter(self, name: str, call: Call) -> str:
        if name == "id":
            return str(call.tenant.id)
        if name == "user_id":
            return await add_user(self.suite, call.tenant)
        if name == "key":
            return await add_setting(self.suite, call.tenant)
        if name == "alert_id":
            return await add_alert(self.suite, call.tenant)
        if name == "import_id":
            return await add_import(self.suite, call.tenant)
        if name == "export_id":
            return await add_export(self.suite, call.tenant)
        if name == "migration_id":
            return await add_migration(self.suite, call.tenant)
        if name == "invoice_id":
            return await invoice_of(self.suite, call.tenant)
        if name == "webhook_id":
            return await add_webhook(self.suite, call.tenant)
        if name == "delivery_id":
            return await add_delivery(self.suite, call.tenant, call.params["webhook_id"])
        if name == "job_id":
            return str(await add_dead_job(self.suite, call.tenant))
        if name == "invitation_id":
            return str((await invite(self.suite, call.tenant))["id"])
        if name == "verification_id":
            return await add_verification(self.suite, call.tenant, call.params["user_id"])
        if name == "api_key_id":
            return await one_more_key(self.suite, call.tenant)
        if name == "media_id":
            return await add_media(self.suite, call.tenant, call.caller)
        if name == "passkey_id":
            return await add_passkey(self.suite, call.tenant, call.caller or call.tenant.owner)
        if name == "session_id":
            assert call.caller is not None
            answer = await self.suite.client.get(f"{AUTH}/sessions", headers=call.caller.auth)
            return str(answer.json()[0]["id"])
        return self.home_ids[name]


async def make_world(suite: Suite) -> World:
    """Make the tenants of the matrix through the API."""
    # What reads documents is not installed everywhere.
    suite.apps["user"].state.document_reader = Reads()
    home = await suite.tenant("custom", domain=HOME_DOMAIN)
    await prove_domain(suite, home)
    await set_look(suite, home)
    other, closed = [await suite.tenant("custom") for _ in range(2)]
    members = {role: await suite.user(home, role) for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER)}
    signed_out = await suite.user(home, Role.ADMIN)
    await suite.client.delete(
        f"{AUTH}/sessions/{await session_of(suite, signed_out)}", headers=signed_out.auth
    )
    visit = {"tenantId": str(home.id), "reason": "The matrix visits."}
    visited = await suite.client.post(f"{AUTH}/act-as", json=visit, headers=suite.operator)
    world = World(
        suite=suite,
        home=home,
        other=other,
        closed=closed,
        plain=await suite.tenant("basic"),
        members=members | {Role.OWNER: home.owner},
        signed_out=signed_out,
        visitor={"Authorization": f"Bearer {visited.json()['token']}"},
        home_ids=await ids_of(suite, home),
        other_ids=await ids_of(suite, other),
    )
    await suspend(suite, closed)
    return world


async def prove_domain(suite: Suite, tenant: TenantHandle) -> None:
    """Publish what proves the tenant's domain, and have it verified."""
    path = f"{TENANTS}/{tenant.id}/domain"
    answer = await suite.client.get(path, headers=tenant.auth)
    suite.dns.publish(answer.json()["record"])
    answer = await suite.client.post(f"{path}/verify", headers=tenant.auth)
    assert answer.status_code == 200, answer.text


async def set_look(suite: Suite, tenant: TenantHandle) -> None:
    """Give the tenant a look with a logo."""
    answer = await suite.client.put(
        f"{TENANTS}/{tenant.id}/branding", json=look(Call(tenant, None, {}, "home")), headers=tenant.auth
    )
    assert answer.status_code == 200, answer.text


async def ids_of(suite: Suite, tenant: TenantHandle) -> dict[str, str]:
    """Return something of the tenant's for each parameter that a path may have."""
    webhook_id = await add_webhook(suite, tenant)
    user_id = await add_user(suite, tenant)
    return {
        "id": str(tenant.id),
        "webhook_id": webhook_id,
        "delivery_id": await add_delivery(suite, tenant, webhook_id),
        "user_id": user_id,
        "verification_id": await add_verification(suite, tenant, user_id),
        "session_id": await session_of(suite, tenant.owner),
        "key": await add_setting(suite, tenant),
        "export_id": await add_export(suite, tenant),
        "import_id": await add_import(suite, tenant),
        "invoice_id": await invoice_of(suite, tenant),
        "migration_id": await add_migration(suite, tenant),
        "plan": "premium",
        "alert_id": await add_alert(suite, tenant),
        "job_id": str(await add_dead_job(suite, tenant)),
        "passkey_id": await add_passkey(suite, tenant, tenant.owner),
        "invitation_id": str((await invite(suite, tenant))["id"]),
        "api_key_id": (await add_api_key(suite, tenant))["id"],
        "media_id": await add_media(suite, tenant),
    }


async def add_user(suite: Suite, tenant: TenantHandle) -> str:
    """Create a user who has no password, which is quick, and return the id."""
    email = f"u-{uuid4().hex[:10]}@{tenant.slug}.example"
    body = {"email": email, "name": "Ute User", "role": "viewer"}
    answer = await suite.client.post(USERS, json=body, headers=tenant.auth)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def one_more_key(suite: Suite, tenant: TenantHandle) -> str:
    """Make an API key and return its id; the ones from before make room."""
    path = f"{AUTH}/api-keys"
    for old in (await suite.client.get(path, headers=tenant.auth)).json()[20:]:
        await suite.client.delete(f"{path}/{old['id']}", headers=tenant.auth)
    return str((await add_api_key(suite, tenant))["id"])


async def add_verification(suite: Suite, tenant: TenantHandle, user_id: str) -> str:
    """Have a document of the user's judged and return the verification's id."""
    row = VerificationRow(
        id=uuid4(),
        user_id=UUID(user_id),
        status="verified",
        checks=[],
        content_type="image/png",
        requested_by=tenant.owner.id,
        created_at=datetime.now(UTC),
    )
    async with suite.database.transaction(tenant.id) as session:
        session.add(row)
    return str(row.id)


async def add_setting(suite: Suite, tenant: TenantHandle) -> str:
    """Set a configuration key of its own and return it."""
    key = f"app.k-{uuid4().hex[:10]}"
    answer = await suite.client.post(
        f"{TENANTS}/{tenant.id}/config", json={"configKey": key, "configValue": 1}, headers=tenant.auth
    )
    assert answer.status_code == 200, answer.text
    return key


async def add_alert(suite: Suite, tenant: TenantHandle) -> str:
    """Open an alert about something of its own and return its id."""
    subject = f"matrix-{uuid4().hex}"
    async with suite.database.transaction(tenant.id) as session:
        opened = await open_alert(session, Cause(AlertKind.BILLING, subject, Severity.INFO, "The matrix."))
    return str(opened)


async def add_import(suite: Suite, tenant: TenantHandle) -> str:
    """Carry an import of nobody out and return its id."""
    return str((await imported(suite, tenant, archive_of(tenant, users=[])))["importId"])


async def add_export(suite: Suite, tenant: TenantHandle) -> str:
    """Make an export with its file and return the id."""
    return str((await finished(suite, tenant, "users"))["exportId"])


async def add_media(suite: Suite, tenant: TenantHandle, sender: UserHandle | None = None) -> str:
    """Store a file, sent by `sender` where they may, else by the owner, and return its id."""
    may_send = sender is not None and sender.role != Role.VIEWER
    auth = sender.auth if sender is not None and may_send else tenant.auth
    return str((await stored(suite, tenant, auth=auth))["id"])


async def add_migration(suite: Suite, tenant: TenantHandle) -> str:
    """Return the id of the change of plan that is scheduled; where there is none, schedule one."""
    body = {"targetPlan": "premium", "migrationOptions": {"effectiveAt": "period_end"}}
    answer = await suite.client.post(f"{TENANTS}/{tenant.id}/migrate", json=body, headers=tenant.auth)
    assert answer.status_code in (200, 409), answer.text
    return str(answer.json()["migrationId"])


async def invoice_of(suite: Suite, tenant: TenantHandle) -> str:
    """Return the id of the tenant's newest invoice."""
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/invoices", headers=tenant.auth)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0]["id"])


async def add_webhook(suite: Suite, tenant: TenantHandle) -> str:
    """Create a webhook and return its id; another one makes room where there are many."""
    path = f"{TENANTS}/{tenant.id}/webhooks"
    for old in (await suite.client.get(path, headers=tenant.auth)).json()[10:-1]:
        await suite.client.delete(f"{path}/{old['id']}", headers=tenant.auth)
    body = {"url": "https://hooks.invalid/hook", "events": ["user.created"]}
    answer = await suite.client.post(path, json=body, headers=tenant.auth)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def add_delivery(suite: Suite, tenant: TenantHandle, webhook_id: str) -> str:
    """Ping the webhook, where no worker sends anything, and return the delivery's id."""
    path = f"{TENANTS}/{tenant.id}/webhooks/{webhook_id}/ping"
    answer = await suite.client.post(path, headers=tenant.auth)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def enrolled(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """Let the user have an authenticator app that waits to be confirmed, by the code that is returned."""
    return {"code": pyotp.TOTP((await enroll(suite, user))["secret"]).now()}


async def set_up(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """Let the user have an authenticator app."""
    await with_app(suite, tenant, user)
    return {}


async def halfway(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """Let the user have an authenticator app, and have given the password alone."""
    app = await with_app(suite, tenant, user)
    return {"token": await asked(suite, app), "code": await app.code()}


async def registering(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """Let the user's device have made a passkey that nobody knows of yet."""
    browser = browser_at(suite, BASE_DOMAIN)
    question = await browser.ask_to_register(user)
    made = browser.device.create(question["publicKey"])
    return {"token": question["challengeToken"], "credential": json.dumps(made)}


async def with_passkey(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """Let the user have a passkey, and have signed with it."""
    browser = browser_of(suite, tenant)
    await browser.register(user)
    question = await browser.ask_to_sign_in()
    # The matrix asks at the base domain, whose relying party is the same.
    proof = browser.device.get(question["publicKey"], Quirks(origin=f"http://{BASE_DOMAIN}"))
    return {"token": question["challengeToken"], "credential": json.dumps(proof)}


async def form(suite: Suite, tenant: TenantHandle, cookie: str | None = None) -> dict[str, str]:
    """Return what a browser that was shown the tenant's sign-in page sends its form with."""
    headers = {"X-Tenant-Slug": tenant.slug} | ({} if cookie is None else {"Cookie": cookie})
    async with suite.client_at(fresh_address()) as client:
        page = await client.get("/login", headers=headers)
    return {"cookie": cookie or cookie_of(page), "csrf": csrf_of(page)}


async def visitor(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """Let the user sign in at the page, and return what their browser sends forms with from then on."""
    sent = await form(suite, tenant)
    typed = {"email": user.email, "password": user.password, "csrf": sent["csrf"]}
    headers = {"X-Tenant-Slug": tenant.slug, "Cookie": sent["cookie"]}
    async with suite.client_at(fresh_address()) as client:
        answer = await client.post("/login", data=typed, headers=headers)
    return await form(suite, tenant, cookie_of(answer))


async def halfway_at_page(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """As `halfway`, with a form to go on by."""
    return await halfway(suite, tenant, user) | await form(suite, tenant)


async def passkey_at_page(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """As `with_passkey`, with a form to go on by."""
    return await with_passkey(suite, tenant, user) | await form(suite, tenant)


async def registering_at_page(suite: Suite, tenant: TenantHandle, user: UserHandle) -> dict[str, str]:
    """Let the visitor's device have made a passkey that nobody knows of yet."""
    sent = await visitor(suite, tenant, user)
    headers = {"X-Tenant-Slug": tenant.slug, "Cookie": sent["cookie"], "X-CSRF-Token": sent["csrf"]}
    browser = browser_at(suite, BASE_DOMAIN)
    async with suite.client_at(fresh_address(), f"http://{BASE_DOMAIN}") as client:
        question = (await client.post("/login/passkeys/options", headers=headers)).json()
    made = browser.device.create(question["publicKey"])
    return sent | {"token": question["challengeToken"], "credential": json.dumps(made)}


def cookie_of(answer: httpx.Response) -> str:
    """Return the cookie that the answer sets, as a browser sends it back."""
    return answer.headers["set-cookie"].partition(";")[0]


# What a request needs that ends what was begun, by the route's `fresh`.
HALVES = {
    "enrolled": enrolled,
    "app": set_up,
    "halfway": halfway,
    "registering": registering,
    "passkey": with_passkey,
    "visitor": visitor,
    "halfway_at_page": halfway_at_page,
    "passkey_at_page": passkey_at_page,
    "registering_at_page": registering_at_page,
}


async def an_operator(suite: Suite) -> dict[str, str]:
    """Make an operator."""
    return {"operator": (await new_operator(suite)).authorization}


async def operator_enrolled(suite: Suite) -> dict[str, str]:
    """Make an operator whose app waits to be confirmed, by the code that is returned."""
    staff = await new_operator(suite)
    return {"operator": staff.authorization, "code": pyotp.TOTP(await enroll_operator(suite, staff)).now()}


async def operator_app(suite: Suite) -> dict[str, str]:
    """Make an operator who has an app."""
    return {"operator": (await operator_with_app(suite)).staff.authorization}


async def operator_halfway(suite: Suite) -> dict[str, str]:
    """Make an operator who has an app, and has given the password alone."""
    app = await operator_with_app(suite)
    return {"token": await operator_asked(suite, app.staff), "code": await app.code()}


# As HALVES, of operators, each of whom is made for it.
OPERATORS_HALVES = {
    "operator": an_operator,
    "operator_enrolled": operator_enrolled,
    "operator_app": operator_app,
    "operator_halfway": operator_halfway,
}


async def add_passkey(suite: Suite, tenant: TenantHandle, user: UserHandle) -> str:
    """Register a passkey and return its id; the ones from before make room."""
    path = f"{AUTH}/passkeys"
    for old in (await suite.client.get(path, headers=user.auth)).json()[5:]:
        await suite.client.delete(f"{path}/{old['id']}", headers=user.auth)
    return str((await browser_of(suite, tenant).register(user))["id"])


async def session_of(suite: Suite, user: UserHandle) -> str:
    """Return the id of the user's session."""
    answer = await suite.client.get(f"{AUTH}/sessions", headers=user.auth)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0]["id"])


async def suspend(suite: Suite, tenant: TenantHandle) -> None:
    """Suspend the tenant, and wait until every service knows."""
    answer = await suite.client.post(
        f"{TENANTS}/{tenant.id}/suspend", json={"reason": "The matrix."}, headers=suite.operator
    )
    assert answer.status_code == 200, answer.text
    await suite.hear_of_it()


async def end(suite: Suite, tenant: TenantHandle) -> None:
    """Delete the tenant, and wait until every service knows."""
    answer = await suite.client.delete(f"{TENANTS}/{tenant.id}", headers=suite.operator)
    assert answer.status_code == 202, answer.text
    await suite.hear_of_it()


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem without what differs between any two requests; the answer must be that refusal."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
        answer.status_code,
        answer.text,
    )
    document: dict[str, Any] = answer.json()
    assert document["code"] == code, document
    assert document.pop("requestId") == answer.headers["x-request-id"]
    document.pop("instance")
    return document
