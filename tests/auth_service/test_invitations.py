"""Inviting people: seats, roles, the link, and everything that may be wrong with a token."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from auth_service.invitations.jobs import LAPSES, InvitationRounds
from mis_jobs.jobs import Job
from mis_models.links import InvitationRow
from mis_models.work import OutboxRow
from mis_tenancy.identifiers import new_id
from tests.answers import bearer, fine, refused
from tests.auth_service.links import accept, invite, mails_of, new_address_link, seats, token_of
from tests.auth_service.requests import AUTH, USERS, alter, audited, me, sign_in
from tests.suite import PASSWORD, PUBLIC_URL, Suite, TenantHandle

INVITATIONS = f"{AUTH}/invitations"
AUDIT = "/api/v1/tenants/{}/audit-logs"


async def let_lapse(suite: Suite, tenant: TenantHandle) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    await alter(suite, tenant, update(InvitationRow).values(expires_at=past))


async def test_an_accepted_invitation_is_a_user_who_is_signed_in(suite: Suite) -> None:
    tenant = await suite.tenant()
    invitation = await invite(suite, tenant, "member", f"Ina@{tenant.slug}.example")
    assert set(invitation) == {"id", "email", "role", "expiresAt", "createdAt", "acceptUrl"}
    week = datetime.fromisoformat(invitation["expiresAt"]) - datetime.fromisoformat(invitation["createdAt"])
    assert week == timedelta(days=7)
    assert await seats(suite, tenant.id) == (1, 1)
    done = fine(await accept(suite, token_of(invitation["acceptUrl"])))
    assert done["user"] | {"id": ""} == {
        "id": "",
        "email": f"Ina@{tenant.slug}.example",
        "name": "Ina Invited",
        "role": "member",
    }
    assert done["tenant"]["id"] == str(tenant.id)
    assert fine(await me(suite, done["token"]))["user"]["id"] == done["user"]["id"]
    assert await seats(suite, tenant.id) == (2, 0)
    fine(await sign_in(suite, tenant, email=f"ina@{tenant.slug}.example"))
    found = fine(await suite.client.get(USERS, params={"q": "invited"}, headers=tenant.auth))
    assert [user["id"] for user in found] == [done["user"]["id"]]
    assert found[0]["lastLoginAt"] is not None
    actions = await audited(suite, tenant)
    assert {"invitation.created", "invitation.accepted"} <= set(actions)
    async with suite.database.transaction(tenant.id) as session:
        made = select(OutboxRow.data).where(OutboxRow.type == "user.created")
        assert {"id": done["user"]["id"], "role": "member"} in (await session.scalars(made)).all()


async def test_the_token_is_stored_nowhere(suite: Suite) -> None:
    tenant = await suite.tenant()
    token = token_of((await invite(suite, tenant))["acceptUrl"])
    async with suite.database.transaction(tenant.id) as session:
        row = (await session.scalars(select(InvitationRow))).one()
    secret = token.rpartition(".")[2]
    assert len(secret) == 43
    assert secret.encode() not in row.token_hash
    listed = fine(await suite.client.get(INVITATIONS, headers=tenant.auth))
    assert [one["id"] for one in listed] == [str(row.id)]
    assert "acceptUrl" not in listed[0]


@pytest.mark.parametrize("wrong", ["secret", "tenant", "id", "empty", "refresh", "access", "purpose"])
async def test_a_token_that_was_tampered_with_opens_nothing(suite: Suite, wrong: str) -> None:
    """Catalogue 75."""
    tenant, other = await suite.tenant(), await suite.tenant()
    token = token_of((await invite(suite, tenant))["acceptUrl"])
    theirs = token_of((await invite(suite, other))["acceptUrl"])
    head, _, secret = token.rpartition(".")
    tampered = {
        "secret": f"{head}.{theirs.rpartition('.')[2]}",
        "tenant": f"{theirs.rpartition('.')[0]}.{secret}",
        "id": f"{head[:-4]}AAAA.{secret}",
        "empty": "",
        "refresh": tenant.owner.refresh_token,
        "access": tenant.owner_token,
        "purpose": token.replace("mis_in_", "mis_pw_"),
    }[wrong]
    refused(await accept(suite, tampered), 400, "invitation_invalid")
    fine(await accept(suite, token))


async def test_a_token_serves_once_and_not_after_it_was_revoked_or_ran_out(suite: Suite) -> None:
    """Catalogue 75: one refusal, whatever became of the invitation."""
    tenant = await suite.tenant()
    used, revoked, lapsed = [await invite(suite, tenant) for _ in range(3)]
    fine(await accept(suite, token_of(used["acceptUrl"])))
    fine(await suite.client.delete(f"{INVITATIONS}/{revoked['id']}", headers=tenant.auth), 204)
    assert await seats(suite, tenant.id) == (2, 1)
    await let_lapse(suite, tenant)
    documents = [
        refused(await accept(suite, token_of(one["acceptUrl"])), 400, "invitation_invalid")
        for one in (used, revoked, lapsed)
    ]
    assert len({document["detail"] for document in documents}) == 1
    again = await suite.client.delete(f"{INVITATIONS}/{revoked['id']}", headers=tenant.auth)
    refused(again, 404, "invitation_not_found")


async def test_a_token_is_no_access_token_and_serves_no_other_tenant(suite: Suite) -> None:
    """Catalogue 75."""
    tenant, other = await suite.tenant(), await suite.tenant()
    invitation = await invite(suite, tenant)
    token = token_of(invitation["acceptUrl"])
    refused(await me(suite, token), 401, "token_invalid")
    refused(await accept(suite, token, headers={"X-Tenant-Slug": other.slug}), 400, "invitation_invalid")
    stolen = await suite.client.delete(f"{INVITATIONS}/{invitation['id']}", headers=other.auth)
    refused(stolen, 404, "invitation_not_found")
    fine(await accept(suite, token, headers={"X-Tenant-Slug": tenant.slug}))


async def test_parallel_acceptances_make_one_user(suite: Suite) -> None:
    tenant = await suite.tenant()
    token = token_of((await invite(suite, tenant))["acceptUrl"])
    answers = await asyncio.gather(*(accept(suite, token) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert await seats(suite, tenant.id) == (2, 0)


async def test_an_address_is_invited_once_and_not_at_all_where_it_is_a_users(suite: Suite) -> None:
    tenant = await suite.tenant()
    email = f"twice@{tenant.slug}.example"
    await invite(suite, tenant, email=email)
    for address, code in ((email.upper(), "invitation_pending"), (tenant.owner_email, "email_taken")):
        body = {"email": address, "role": "viewer"}
        refused(await suite.client.post(INVITATIONS, json=body, headers=tenant.auth), 409, code)
    assert await seats(suite, tenant.id) == (1, 1)
    # Once it has run out the address is free again, and its seat is not counted twice.
    await let_lapse(suite, tenant)
    await invite(suite, tenant, email=email)
    assert await seats(suite, tenant.id) == (1, 1)


async def test_an_invitation_holds_a_seat_which_no_limit_takes_back(suite: Suite) -> None:
    tenant = await suite.tenant(maxUsers=2)
    invitation = await invite(suite, tenant)
    body = {"email": f"third@{tenant.slug}.example", "role": "viewer"}
    document = refused(
        await suite.client.post(INVITATIONS, json=body, headers=tenant.auth), 409, "limit_exceeded"
    )
    assert (document["limit"], document["used"], document["requested"]) == (2, 2, 1)
    user = body | {"name": "Theo Third"}
    refused(await suite.client.post(USERS, json=user, headers=tenant.auth), 409, "limit_exceeded")
    fine(await accept(suite, token_of(invitation["acceptUrl"])))
    assert await seats(suite, tenant.id) == (2, 0)


async def test_the_worker_gives_the_seats_of_lapsed_invitations_back(suite: Suite) -> None:
    tenant = await suite.tenant()
    for _ in range(2):
        await invite(suite, tenant)
    await let_lapse(suite, tenant)
    assert await seats(suite, tenant.id) == (1, 2)
    platform = suite.apps["tenant"].state.platform
    rounds = InvitationRounds(platform, suite.database)
    for _ in range(2):
        await rounds.let_go(Job(new_id(), None, LAPSES, {}, 1))
    assert await seats(suite, tenant.id) == (1, 0)


async def test_nobody_invites_or_revokes_above_their_own_role(suite: Suite) -> None:
    tenant = await suite.tenant()
    admin = await suite.user(tenant, "admin")
    body = {"email": f"boss@{tenant.slug}.example", "role": "owner"}
    document = refused(
        await suite.client.post(INVITATIONS, json=body, headers=admin.auth), 403, "permission_denied"
    )
    assert document["required"] == "owner"
    owners = await invite(suite, tenant, "owner")
    path = f"{INVITATIONS}/{owners['id']}"
    refused(await suite.client.delete(path, headers=admin.auth), 403, "permission_denied")
    member = await suite.user(tenant, "member")
    refused(await suite.client.get(INVITATIONS, headers=member.auth), 403, "permission_denied")


async def test_the_tenants_password_policy_holds_and_the_invitation_stays(suite: Suite) -> None:
    """Catalogue 85."""
    tenant = await suite.tenant()
    token = token_of((await invite(suite, tenant))["acceptUrl"])
    document = refused(await accept(suite, token, password="short"), 422, "password_policy")
    assert {error["field"] for error in document["errors"]} == {"password"}
    assert {"min_length", "require_numbers"} <= {error["code"] for error in document["errors"]}
    fine(await accept(suite, token))


@pytest.mark.parametrize("forged", ["Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto"])
async def test_the_link_leads_to_the_configured_address_whatever_a_header_says(
    suite: Suite, forged: str
) -> None:
    """Catalogue 126."""
    tenant = await suite.tenant(name="Evil <b>\u202e Inc")
    value = {"Forwarded": "host=evil.example;proto=https", "X-Forwarded-Proto": "gopher"}.get(
        forged, "evil.example"
    )
    body = {"email": f"f-{uuid4().hex[:8]}@{tenant.slug}.example", "role": "viewer"}
    made = fine(await suite.client.post(INVITATIONS, json=body, headers=tenant.auth | {forged: value}), 201)
    assert made["acceptUrl"].startswith(f"{PUBLIC_URL}/login/invitation?token=mis_in_")
    [mail] = await mails_of(suite, tenant)
    assert mail.to == body["email"]
    assert made["acceptUrl"] in mail.text
    assert "evil.example" not in mail.text + mail.html
    # Catalogue 127.
    assert "<b>" not in mail.html
    assert "\n" not in mail.subject


async def test_inviting_twice_under_one_key_is_one_invitation(suite: Suite) -> None:
    tenant = await suite.tenant()
    body = {"email": f"once@{tenant.slug}.example", "role": "viewer"}
    headers = tenant.auth | {"Idempotency-Key": uuid4().hex}
    first, second = [await suite.client.post(INVITATIONS, json=body, headers=headers) for _ in range(2)]
    assert fine(first, 201) == fine(second, 201)
    assert second.headers["idempotent-replayed"] == "true"
    assert len(await mails_of(suite, tenant)) == 1


async def test_the_list_has_pages_of_what_is_open(suite: Suite) -> None:
    tenant = await suite.tenant()
    made = [(await invite(suite, tenant))["id"] for _ in range(3)]
    page = await suite.client.get(INVITATIONS, params={"limit": 2}, headers=tenant.auth)
    assert [one["id"] for one in fine(page)] == [made[2], made[1]]
    rest = await suite.client.get(page.links["next"]["url"], headers=tenant.auth)
    assert [one["id"] for one in fine(rest)] == [made[0]]
    await let_lapse(suite, tenant)
    assert fine(await suite.client.get(INVITATIONS, headers=tenant.auth)) == []


async def test_an_owner_without_a_password_gets_in_by_the_link_of_the_creation(suite: Suite) -> None:
    slug = f"t-{uuid4().hex[:12]}"
    body = {"name": "Acme", "slug": slug, "owner": {"email": f"wanda@{slug}.example"}}
    headers = suite.operator | {"Idempotency-Key": uuid4().hex}
    first, second = [await suite.client.post("/api/v1/tenants", json=body, headers=headers) for _ in range(2)]
    made = fine(first, 201)
    assert fine(second, 201) == made
    assert made["ownerInvitation"].startswith(f"{PUBLIC_URL}/login/invitation?token=")
    shown = fine(await suite.client.get(f"/api/v1/tenants/{made['id']}", headers=suite.operator))
    assert "ownerInvitation" not in shown
    assert await seats(suite, UUID(made["id"])) == (1, 0)
    done = fine(await accept(suite, token_of(made["ownerInvitation"])))
    assert (done["user"]["role"], done["user"]["name"]) == ("owner", "Ina Invited")
    assert await seats(suite, UUID(made["id"])) == (1, 0)
    users = fine(await suite.client.get(USERS, headers=bearer(done["token"])))
    assert [(user["status"], user["email"]) for user in users] == [("active", f"wanda@{slug}.example")]
    refused(await accept(suite, token_of(made["ownerInvitation"])), 400, "invitation_invalid")
    again = {"email": f"wanda@{slug}.example", "password": PASSWORD, "tenantSlug": slug}
    fine(await suite.post_anonymously(f"{AUTH}/login", again))


async def test_whoever_is_created_meanwhile_has_the_seat_of_their_invitation(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=2)
    invitation = await invite(suite, tenant)
    body = {"email": invitation["email"].upper(), "name": "Ina"}
    made = fine(await suite.client.post(USERS, json=body, headers=tenant.auth), 201)
    assert await seats(suite, tenant.id) == (2, 0)
    assert fine(await suite.client.get(INVITATIONS, headers=tenant.auth)) == []
    refused(await accept(suite, token_of(invitation["acceptUrl"])), 400, "invitation_invalid")
    rows = fine(await suite.client.get(f"{AUDIT.format(tenant.id)}?kind=change", headers=tenant.auth))
    (row,) = [row for row in rows if row["resource"] == f"user:{made['id']}"]
    assert row["action"] == "user.created"
    assert row["changes"]["invitation"] == {"old": invitation["id"], "new": None}


async def test_an_invitation_above_ones_own_role_is_not_withdrawn_by_creating_its_user(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    admin = await suite.user(tenant, "admin")
    invitation = await invite(suite, tenant, "owner")
    body = {"email": invitation["email"], "name": "Ina"}
    refused(await suite.client.post(USERS, json=body, headers=admin.auth), 403, "permission_denied")
    assert await seats(suite, tenant.id) == (2, 1)
    fine(await accept(suite, token_of(invitation["acceptUrl"])))


async def test_creating_and_accepting_at_once_make_one_user_with_one_seat(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    for _ in range(5):
        invitation = await invite(suite, tenant)
        body = {"email": invitation["email"], "name": "Ina"}
        answers = await asyncio.gather(
            suite.client.post(USERS, json=body, headers=tenant.auth),
            accept(suite, token_of(invitation["acceptUrl"])),
        )
        made = [answer.status_code for answer in answers]
        assert made in ([201, 400], [409, 200])
    assert await seats(suite, tenant.id) == (6, 0)


async def test_an_address_that_is_confirmed_ends_the_invitation_it_had(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    user = await suite.user(tenant)
    invitation = await invite(suite, tenant)
    link = await new_address_link(suite, tenant, user, invitation["email"])
    answer = await suite.post_anonymously(f"{AUTH}/email/confirm", {"token": token_of(link)})
    fine(answer, 204)
    assert await seats(suite, tenant.id) == (2, 0)
    refused(await accept(suite, token_of(invitation["acceptUrl"])), 400, "invitation_invalid")
