"""Latency histograms that add up over processes, hours and days before they are asked for a quantile.

A histogram maps buckets to counts. Buckets are fixed and logarithmic, eight to an octave, as in
HdrHistogram, so any two histograms merge by adding counts, and a quantile of the sum is as exact as one of
a single hour: within 1/16 of the true value. Averages or quantiles of parts could not be merged so.
"""

from collections.abc import Iterable, Mapping
from typing import Final

# Eight buckets to an octave are three bits of mantissa.
_BITS: Final = 3
_STEPS: Final = 1 << _BITS

Histogram = Mapping[str, int]


def bucket_of(duration_us: int) -> int:
    """Return the bucket of a duration; negative ones, which a stepped clock can bring, count as none."""
    duration = max(0, duration_us)
    shift = max(0, duration.bit_length() - _BITS - 1)
    return (shift << _BITS) + (duration >> shift)


def bounds_of(bucket: int) -> tuple[int, int]:
    """Return the durations that fall into `bucket`, in µs, as a half-open range."""
    if bucket < 2 * _STEPS:
        return bucket, bucket + 1
    shift = (bucket >> _BITS) - 1
    low = (_STEPS + bucket % _STEPS) << shift
    return low, low + (1 << shift)


def merged(maps: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of maps from names to counts."""
    total: dict[str, int] = {}
    known = total.get
    for one in maps:
        for name, count in one.items():
            total[name] = known(name, 0) + count
    return total


def quantile_ms(histogram: Histogram, share: float) -> float | None:
    """Return the duration, in ms, that `share` of the requests did not exceed; None where there were none."""
    counts = sorted((int(bucket), count) for bucket, count in histogram.items())
    rank = share * sum(count for _, count in counts)
    for bucket, count in counts:
        rank -= count
        if rank <= 0:
            low, high = bounds_of(bucket)
            return round((low + high) / 2 / 1000, 3)
    return None
