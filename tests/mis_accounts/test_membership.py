"""Seats, members and departures on the real database, as the roles that use them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from mis_accounts.claims import LimitExceeded
from mis_accounts.departures import end_sessions, raise_epoch
from mis_accounts.emails import parse_email
from mis_accounts.members import EmailTaken, add_member, renew_terms
from mis_accounts.seats import claim_seats, lock_seats, release_seats
from mis_models.accounts import CountersRow, SessionRow, UserRow, UserTermRow
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import RevocationRow
from mis_tenancy.tenant import Role
from tests.suite import Suite

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def users_counted(database: Database, tenant_id: UUID) -> int:
    async with database.transaction(tenant_id) as session:
        return (await session.scalars(select(CountersRow.users))).one()


async def member(session: TenantSession, address: str, name: str = "Ada Lovelace") -> UserRow:
    return await add_member(session, email=parse_email(address), name=name, role=Role.MEMBER, now=NOW)


async def test_parallel_claims_take_exactly_the_seats_there_are(suite: Suite) -> None:
    """Catalogue 99."""
    tenant = await suite.tenant("custom", maxUsers=11)

    async def claim() -> bool:
        try:
            async with suite.database.transaction(tenant.id) as session:
                await claim_seats(session)
        except LimitExceeded:
            return False
        return True

    claimed = await asyncio.gather(*(claim() for _ in range(100)))
    assert sum(claimed) == 10
    assert await users_counted(suite.database, tenant.id) == 11


async def test_a_claim_that_does_not_fit_takes_nothing_and_says_what_there_is(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=5)
    async with suite.database.transaction(tenant.id) as session:
        with pytest.raises(LimitExceeded) as refused:
            await claim_seats(session, 5)
        await claim_seats(session, 4)
    assert refused.value.members == {"resource": "users", "limit": 5, "used": 1, "requested": 5}
    assert await users_counted(suite.database, tenant.id) == 5


async def test_pending_invitations_hold_seats(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=3)
    async with suite.database.transaction(tenant.id) as session:
        counters = (await session.scalars(select(CountersRow))).one()
        counters.pending_invitations = 2
    async with suite.database.transaction(tenant.id) as session:
        with pytest.raises(LimitExceeded):
            await claim_seats(session)
        seats = await lock_seats(session)
    assert (seats.limit, seats.used, seats.fit(1)) == (3, 3, 0)


async def test_without_a_limit_every_claim_fits_and_release_gives_back(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    async with suite.database.transaction(tenant.id) as session:
        await claim_seats(session, 1_000_000)
        await release_seats(session, 999_999)
        assert (await lock_seats(session)).limit is None
    assert await users_counted(suite.database, tenant.id) == 2


async def test_a_rolled_back_claim_is_no_claim(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxUsers=5)

    async def add_twice() -> None:
        async with suite.database.transaction(tenant.id) as session:
            await member(session, "ada@example.com")
            await member(session, "ADA@Example.com")

    with pytest.raises(EmailTaken):
        await add_twice()
    assert await users_counted(suite.database, tenant.id) == 1


async def test_a_member_has_terms_in_their_own_tenant_alone(suite: Suite) -> None:
    """Catalogue 39."""
    ours, theirs = await suite.tenant(), await suite.tenant()
    for tenant in (ours, theirs):
        async with suite.database.transaction(tenant.id) as session:
            user = await member(session, "ada@example.com")
            user.name = "Zoë King"
            await renew_terms(session, user)
    async with suite.database.transaction(ours.id) as session:
        found = (await session.scalars(select(UserTermRow).where(UserTermRow.term >= "zo"))).all()
        terms = await session.scalars(
            select(UserTermRow.term)
            .join(UserRow, UserRow.id == UserTermRow.user_id)
            .where(UserRow.name == "Zoë King")
        )
        assert set(terms) == {"ada@example.com", "zoe", "king"}
    assert {row.tenant_id for row in found} == {ours.id}


async def test_the_platform_role_can_add_a_member_it_cannot_read_back(suite: Suite) -> None:
    tenant = await suite.tenant()
    platform = Database(suite.settings.platform_database_url or "")
    await platform.start()
    try:
        async with platform.transaction(tenant.id) as session:
            user = await add_member(
                session,
                email=parse_email("second@example.com"),
                name="Second Owner",
                role=Role.OWNER,
                password_hash="kept-hash",
                status="invited",
                now=NOW,
            )
    finally:
        await platform.stop()
    async with suite.database.transaction(tenant.id) as session:
        stored = (await session.scalars(select(UserRow).where(UserRow.id == user.id))).one()
    assert (stored.password_hash, stored.status, stored.epoch, stored.version) == (
        "kept-hash",
        "invited",
        0,
        1,
    )


async def test_ending_sessions_revokes_the_live_ones_but_the_one_kept(suite: Suite) -> None:
    tenant = await suite.tenant()
    async with suite.database.transaction(tenant.id) as session:
        ada, bob = await member(session, "ada@example.com"), await member(session, "bob@example.com")
        kept, live, ended, other = (new_id() for _ in range(4))
        for session_id, user, revoked in (
            (kept, ada, None),
            (live, ada, None),
            (ended, ada, NOW),
            (other, bob, None),
        ):
            session.add(
                SessionRow(
                    id=session_id,
                    user_id=user.id,
                    restricted=False,
                    created_at=NOW,
                    last_seen_at=NOW,
                    expires_at=NOW + timedelta(days=30),
                    revoked_at=revoked,
                )
            )
    async with suite.database.transaction(tenant.id) as session:
        gone = await end_sessions(session, ada.id, reason="password_changed", now=NOW, except_session=kept)
    assert gone == [live]
    async with suite.database.transaction(tenant.id) as session:
        alive = set(await session.scalars(select(SessionRow.id).where(SessionRow.revoked_at.is_(None))))
        told = await session.scalars(
            select(RevocationRow.subject).where(
                RevocationRow.kind == "session", RevocationRow.tenant_id == tenant.id
            )
        )
        assert live in set(told)
    assert {kept, other} <= alive
    assert live not in alive


async def test_a_raised_epoch_is_the_lowest_still_good(suite: Suite) -> None:
    tenant = await suite.tenant()
    async with suite.database.transaction(tenant.id) as session:
        user = await member(session, "ada@example.com")
        raise_epoch(session, user)
        raise_epoch(session, user)
    async with suite.database.transaction(tenant.id) as session:
        told = await session.scalars(select(RevocationRow.epoch).where(RevocationRow.subject == user.id))
        assert sorted(epoch or 0 for epoch in told) == [1, 2]
