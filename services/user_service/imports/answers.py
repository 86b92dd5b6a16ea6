"""Writes the answer of an import while rows still go in: a line for each, or one document of all."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable

import msgspec

from user_service.imports.results import RowResult, Tally

_ENCODER = msgspec.json.Encoder()

Batches = AsyncIterator[list[RowResult]]


async def lines(batches: Batches) -> AsyncGenerator[bytes, None]:
    """Yield a line of NDJSON for each row, a batch at a time."""
    async for batch in batches:
        yield _ENCODER.encode_lines(batch)


async def document(batches: Batches) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of one JSON document (`ImportOut`), whose counts stand at the end."""
    tally = Tally()
    separator = b'{"rows":['
    async for batch in batches:
        tally.add(batch)
        # Without the brackets around the batch.
        yield separator + _ENCODER.encode(batch)[1:-1]
        separator = b","
    opening = b"" if tally.total else separator
    counts = {"total": tally.total, "created": tally.created, "failed": tally.failed}
    yield opening + b"]," + _ENCODER.encode(counts)[1:]


async def of(batches: Iterable[list[RowResult]]) -> Batches:
    """Yield batches that are there already."""
    for batch in batches:
        yield batch
