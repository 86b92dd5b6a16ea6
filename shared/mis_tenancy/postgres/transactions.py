"""A session's one transaction, from its beginning to its commit or rollback.

It does what `async with session, session.begin()` does. Of that only the end has anything to send, so only
the end goes the way on which SQLAlchemy can wait for the driver; the others would go it for nothing.
"""

from types import TracebackType
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

AnySession = TypeVar("AnySession", bound=AsyncSession)


class WholeTransaction(Generic[AnySession]):
    """Hands `session` out in a transaction; commits at the end, or rolls back when the block raises."""

    __slots__ = ("_session", "_transaction")

    def __init__(self, session: AnySession) -> None:
        self._session = session
        self._transaction = session.sync_session.begin()

    async def __aenter__(self) -> AnySession:
        self._transaction.__enter__()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._session.run_sync(lambda _: self._transaction.__exit__(kind, error, trace))
        except BaseException:
            # Its end was cut short; what is left of it to send must not be cut short as well.
            await self._session.__aexit__(kind, error, trace)
            raise
        self._session.sync_session.close()
