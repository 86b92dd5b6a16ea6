"""A closed-loop load generator: keep-alive connections over loopback, and a check of every answer's tenant.

A library client costs more per request than the server under test, so requests are written and read as bytes.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and what its answer must be: `status`, and the mark of its tenant in it `rows` times."""

    request: bytes
    mark: bytes
    rows: int
    status: int = 200


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of one candidate came to; latencies in seconds."""

    seconds: float
    latencies: Sequence[float]
    refused: int
    mistakes: int

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, fraction: float) -> float:
        """Return the latency that `fraction` of the requests stayed below."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


async def measure(port: int, calls: Iterator[Call], connections: int, seconds: float) -> Measurement:
    """Send `calls` in turn over `connections` for `seconds`; each connection waits for its answer."""
    latencies: list[float] = []
    counts = {"refused": 0, "mistakes": 0}
    start = time.perf_counter()
    until = start + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (sent := time.perf_counter()) < until:
                call = next(calls)
                writer.write(call.request)
                status, body = await answer_of(reader)
                latencies.append(time.perf_counter() - sent)
                if status != call.status:
                    counts["refused"] += 1
                elif body.count(call.mark) != call.rows:
                    counts["mistakes"] += 1
        finally:
            writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return Measurement(time.perf_counter() - start, latencies, counts["refused"], counts["mistakes"])


async def pace(port: int, calls: Iterator[Call], per_second: float, seconds: float) -> Measurement:
    """Send `calls` over one connection at a pace of its own, or as fast as answers come if that is slower.

    A latency counts from the moment at which the request was due, so that a stall is not counted once only.
    """
    latencies: list[float] = []
    refused = mistakes = number = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.perf_counter()
    while (due := start + number / per_second) < start + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        call = next(calls)
        writer.write(call.request)
        status, body = await answer_of(reader)
        latencies.append(time.perf_counter() - due)
        refused += status != call.status
        mistakes += status == call.status and body.count(call.mark) != call.rows
        number += 1
    writer.close()
    return Measurement(time.perf_counter() - start, latencies, refused, mistakes)


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body of the next answer on a connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line[:15].lower() == b"content-length:")
    return int(lines[0].split()[1]), await reader.readexactly(length)
