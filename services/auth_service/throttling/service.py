"""Guessers wait ever longer, and nobody can make an account's own people wait with them.

Failures count against the account, against the client's address, and against the tenant, so that a spray of
few passwords over many accounts from many addresses meets a wall too. A network from which the account has
signed in before has a counter of its own, which strangers cannot touch: so a flood from elsewhere locks
nobody out at home, and whoever sets a new password by a mailed link makes their network known. The counters
live in Postgres, where no outage of Redis forgets them.
"""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.errors import LoginThrottled
from auth_service.throttling import repository

FREE_FAILURES: Final = 9
LONGEST_WAIT: Final = timedelta(minutes=15)
ADDRESS_FAILURES: Final = 100
TENANT_FAILURES: Final = 1_000
WINDOW: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The counters that one attempt to sign in is held against, by their names in the table."""

    account: str
    device: str
    address: str
    realm: str

    @classmethod
    def of(cls, realm: str, email_norm: str, network: str) -> "Attempt":
        """Return the counters of an address in `realm` (a tenant, or the operators) from a network.

        An account that does not exist has counters too, so that waiting tells nothing about it. Names are
        digests, because the table is nobody's address book.
        """
        return cls(
            account=f"account:{_digest(realm, email_norm)}",
            device=f"device:{_digest(realm, email_norm, network)}",
            address=_address(network),
            realm=f"realm:{_digest(realm)}",
        )


async def require_free(session: AsyncSession, attempt: Attempt) -> bool:
    """Return whether the account knows the client's network; raise LoginThrottled where it has to wait."""
    strangers = (attempt.account, attempt.address, attempt.realm)
    waits = await repository.waits(session, (attempt.device, *strangers))
    is_known = attempt.device in waits
    applied = (attempt.device,) if is_known else strangers
    seconds = max(waits.get(counter, 0) for counter in applied)
    if seconds > 0:
        raise LoginThrottled(seconds)
    return is_known


async def count_failure(session: AsyncSession, attempt: Attempt, *, is_known: bool) -> None:
    """Write a failed attempt down, and let the next one wait where there were too many."""
    own = attempt.device if is_known else attempt.account
    failures = await repository.count(session, own, repository.LAPSES_AFTER, is_fixed=False)
    if failures > FREE_FAILURES:
        await repository.block(session, own, wait_after(failures))
    if not is_known:
        await _count_up_to(session, attempt.realm, TENANT_FAILURES)
    await _count_up_to(session, attempt.address, ADDRESS_FAILURES)
    await repository.prune(session)


async def forgive(session: AsyncSession, attempt: Attempt) -> None:
    """Start counting anew after a good attempt, and know its network from now on.

    Raise LoginThrottled where parallel failures have closed the counter meanwhile: guesses that are sent all
    at once gain nothing over guesses in a row.
    """
    if not await require_free(session, attempt):
        await repository.forget(session, attempt.account)
    await repository.remember(session, attempt.device)


async def require_free_address(session: AsyncSession, network: str) -> None:
    """Raise LoginThrottled where too much has failed from a network, for what names no account."""
    waits = await repository.waits(session, (_address(network),))
    if (seconds := max(waits.values(), default=0)) > 0:
        raise LoginThrottled(seconds)


async def count_address_failure(session: AsyncSession, network: str) -> None:
    """Write down that something failed from a network which names no account, such as a link's token."""
    await _count_up_to(session, _address(network), ADDRESS_FAILURES)
    await repository.prune(session)


async def is_within(session: AsyncSession, subject: str, most: int, window: timedelta) -> bool:
    """Count one more of what `subject` asks for; return whether it is among the first `most` in `window`."""
    return await repository.count(session, subject, window, is_fixed=True) <= most


async def know_network(session: AsyncSession, attempt: Attempt) -> None:
    """Know the network from now on as one of the account's own."""
    await repository.remember(session, attempt.device)


def wait_after(failures: int) -> timedelta:
    """Return the wait after so many failures in a row: 1 s from the tenth, doubling up to 15 minutes."""
    beyond = failures - FREE_FAILURES - 1
    return min(LONGEST_WAIT, timedelta(seconds=2 ** min(beyond, 16)))


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


async def _count_up_to(session: AsyncSession, subject: str, most: int) -> None:
    failures = await repository.count(session, subject, WINDOW, is_fixed=True)
    if failures >= most:
        await repository.block(session, subject, WINDOW)


def _address(network: str) -> str:
    return f"address:{network}"
