"""The headers that tell a client where it stands with its limits.

`RateLimit` and `RateLimit-Policy` follow the IETF draft on RateLimit header fields, as structured fields
(RFC 9651); the `X-RateLimit-*` ones repeat the daily limit for clients that know only those.
"""

from math import ceil

from mis_tenancy.tenant import Allowance


def rate_limit_headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer, names in lower case as ASGI wants them.

    `RateLimit` speaks of the policy with the smaller fraction left, on a refusal of the one that refused;
    `Retry-After` is there on a refusal, in whole seconds, at least 1 and never before that policy's reset.
    """
    policy = binding_policy(allowance)
    remaining, reset = _standing(allowance, policy)
    window = "daily" if allowance.daily_limit is not None else "burst"
    window_limit = allowance.burst_limit if allowance.daily_limit is None else allowance.daily_limit
    window_remaining, window_reset = _standing(allowance, window)
    fields = [
        ("ratelimit-policy", _policies(allowance)),
        ("ratelimit", f'"{policy}";r={remaining};t={reset}'),
        ("x-ratelimit-limit", str(window_limit)),
        ("x-ratelimit-remaining", str(window_remaining)),
        ("x-ratelimit-reset", str(window_reset)),
    ]
    if allowance.mode == "local":
        fields.append(("x-ratelimit-mode", "local"))
    if not allowance.admitted:
        fields.append(("retry-after", str(max(1, reset, ceil(allowance.retry_after)))))
    return [(name.encode(), value.encode()) for name, value in fields]


def binding_policy(allowance: Allowance) -> str:
    """Return `daily` or `burst`: the one that refused, else the one with the smaller fraction left."""
    if allowance.refused_by is not None:
        return allowance.refused_by
    if allowance.daily_limit is None or allowance.daily_remaining is None:
        return "burst"
    daily = allowance.daily_remaining * allowance.burst_limit
    return "daily" if daily <= allowance.burst_remaining * allowance.daily_limit else "burst"


def _policies(allowance: Allowance) -> str:
    burst = f'"burst";q={allowance.burst_limit};w=1'
    if allowance.daily_limit is None:
        return burst
    return f'{burst}, "daily";q={allowance.daily_limit};w=86400'


def _standing(allowance: Allowance, policy: str) -> tuple[int, int]:
    if policy == "daily":
        return allowance.daily_remaining or 0, allowance.daily_reset
    return allowance.burst_remaining, ceil(allowance.burst_reset)
