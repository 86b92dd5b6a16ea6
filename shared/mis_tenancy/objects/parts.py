"""How a stream goes into a store that takes it in parts, and what of it is in memory meanwhile."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

import obstore
from obstore.store import ObjectStore

_SMALLEST: Final = 5 * 2**20
# Stores take at most 10,000 parts of one object.
_MOST: Final = 9_000
AT_ONCE: Final = 2


def part_of(expected_bytes: int | None) -> int:
    """Return the bytes of a part, for a stream of that length or of one that nobody knows."""
    return max(_SMALLEST, -(-(expected_bytes or 0) // _MOST))


def memory_of(expected_bytes: int | None) -> int:
    """Return the bytes that such a stream holds at most: parts that are sent, one that fills, one between."""
    return (AT_ONCE + 2) * part_of(expected_bytes)


async def put_stream(store: ObjectStore, path: str, data: AsyncIterable[bytes], part: int) -> None:
    """Store what `data` yields, sent in parts of so many bytes.

    Cancelled, it ends once the parts are taken back; what `data` raises passes through.
    """
    ended = asyncio.Event()
    sent = _until(ended, aiter(data))
    put = obstore.put_async(store, path, sent, chunk_size=part, max_concurrency=AT_ONCE)
    putting = asyncio.ensure_future(put)
    try:
        await asyncio.shield(putting)
    except asyncio.CancelledError:
        # Cut off where it stands, the library would leave the parts that it has sent; where its input
        # fails, it takes them back.
        ended.set()
        await asyncio.wait({putting})
        if not putting.cancelled():
            # It has failed as it was made to, which nobody else will ask for.
            putting.exception()
        raise


class _Ended(Exception):
    """Nobody waits for the stream any more."""


async def _until(ended: asyncio.Event, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what `data` does; fail as soon as it has `ended`, also in the middle of a wait."""
    ending = asyncio.ensure_future(ended.wait())
    try:
        while True:
            coming = asyncio.ensure_future(_next(data))
            try:
                await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait({coming})
            if ended.is_set():
                raise _Ended
            if (piece := coming.result()) is None:
                return
            yield piece
    finally:
        ending.cancel()


async def _next(data: AsyncIterator[bytes]) -> bytes | None:
    return await anext(data, None)
