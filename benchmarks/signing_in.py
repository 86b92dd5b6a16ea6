"""Run with `make bench ARGS=signing_in`: what tokens cost, and what a flood of sign-ins does.

Verifying is measured in this process, seen and new tokens by turns with one bare ES256 verification. Signing
in and refreshing go over HTTP to the auth service in a process of its own; the flood comes from many client
addresses at once, because one alone is limited, and `/healthz` is asked meanwhile.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import psutil
from jwt.algorithms import ECAlgorithm
from starlette.types import ASGIApp

from auth_service.app import create_app
from benchmarks.ground import ISSUER, Ground, ground
from benchmarks.load import Call, answer_of
from benchmarks.serving import served
from benchmarks.world import signed_token
from mis_accounts.passwords import Passwords
from mis_http.service.settings import ServiceSettings
from mis_tenancy.identifiers import new_id
from mis_tenancy.tokens.jose import decode_segment
from mis_tenancy.tokens.keyring import KeyRing, public_key
from mis_tenancy.tokens.signing import load_signing_key, new_signing_key
from mis_tenancy.tokens.verification import TokenVerifier

AUTH: Final = "suite, auth service"
SIGNING_IN: Final[dict[str, Callable[[ServiceSettings], ASGIApp]]] = {AUTH: create_app}
PASSWORD: Final = "Correct-Horse-7-Battery"  # noqa: S105  # nobody's but the benchmark's
SLUG: Final = "bench"
_ROUNDS: Final = 2_000
_LOGINS: Final = 200

_FILL: Final = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
values (gen_random_uuid(), 'Benchmark', '{slug}', '{slug}', 'custom', 'active', now(), now(), now());
insert into users (tenant_id, id, email, email_norm, name, role, status, password_hash, attributes,
       created_at, updated_at)
select id, gen_random_uuid(), 'user' || n || '@bench.example', 'user' || n || '@bench.example', 'Person',
       'member', 'active', '{hashed}', '{{}}', now(), now() from tenants, generate_series(0, {users}) n;
"""


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(prog="python -m benchmarks signing_in", description=__doc__).parse_args()
    for line in asyncio.run(verifying(_ROUNDS)):
        print(line)
    with ground() as given:
        _fill(given, _LOGINS)
        settings = given.settings | {"trusted_proxies": ["127.0.0.1"]}
        probe = Call(b"GET /healthz HTTP/1.1\r\nHost: auth\r\nConnection: close\r\n\r\n", b"", 0)
        with served(AUTH, settings, probe) as (port, process):
            for line in asyncio.run(_over_http(port, process, _LOGINS)):
                print(line)


async def verifying(rounds: int) -> list[str]:
    """Return the lines about verifying a token, in microseconds, medians of so many rounds by turns."""
    key = new_signing_key()

    async def load() -> Mapping[str, Mapping[str, Any]]:
        return {key.kid: key.public_jwk}

    ring, private = KeyRing(load), load_signing_key(key.private_pem)
    await ring.refresh()
    verifier = TokenVerifier(ring, issuer=ISSUER, audience="mis", is_revoked=lambda _: False)
    bare, point = ECAlgorithm(ECAlgorithm.SHA256), public_key(key.public_jwk)
    claims = {"role": "viewer", "scope": "users:read", "tenantId": str(new_id()), "tenantSlug": SLUG}
    seen = signed_token(key.kid, private, **claims)
    verifier.verify_jwt(seen)
    took: dict[str, list[float]] = {"seen": [], "new": [], "bare ES256": []}
    for _ in range(rounds):
        token = signed_token(key.kid, private, **claims)
        text, _, signature = token.rpartition(".")
        raw = decode_segment(signature)
        took["new"].append(_timed(partial(verifier.verify_jwt, token)))
        took["bare ES256"].append(_timed(partial(bare.verify, text.encode(), point, raw)))
        took["seen"].append(_timed(partial(verifier.verify_jwt, seen)))
    return [f"verify a token, {kind}: {statistics.median(times):.1f} µs" for kind, times in took.items()]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6


def _fill(given: Ground, users: int) -> None:
    passwords = Passwords()
    hashed = asyncio.run(passwords.hash(PASSWORD))
    passwords.close()
    given.ask(_FILL, slug=SLUG, hashed=hashed, users=users)


async def _over_http(port: int, process: psutil.Process, logins: int) -> list[str]:
    first = await _asked(port, "/api/v1/auth/login", _login(0), "10.9.0.1")
    refreshed, token = [], first["refreshToken"]
    for number in range(100):
        began = time.perf_counter()
        body = {"refreshToken": token}
        token = (await _asked(port, "/api/v1/auth/refresh", body, f"10.8.0.{number}"))["refreshToken"]
        refreshed.append((time.perf_counter() - began) * 1e3)
    before, began = process.memory_info().rss, time.perf_counter()
    flood = [
        asyncio.create_task(
            _asked(port, "/api/v1/auth/login", _login(number), f"10.7.{number // 250}.{number % 250}")
        )
        for number in range(logins)
    ]
    probes, most = [], before
    while not all(task.done() for task in flood):
        probes.append(await _probe(port))
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.01)
    await asyncio.gather(*flood)
    seconds, p99 = time.perf_counter() - began, sorted(probes)[int(len(probes) * 0.99)] * 1e3
    return [
        f"refresh: {statistics.median(refreshed):.1f} ms over HTTP (three round trips to Postgres)",
        f"{logins} sign-ins at once: {seconds:.1f} s, {logins / seconds:.0f} a second",
        f"meanwhile /healthz: p99 {p99:.1f} ms of {len(probes)}; memory +{(most - before) / 2**20:.0f} MiB",
    ]


def _login(number: int) -> dict[str, str]:
    return {"email": f"user{number}@bench.example", "password": PASSWORD, "tenantSlug": SLUG}


async def _asked(port: int, path: str, body: Any, address: str) -> Any:
    text = json.dumps(body)
    request = (
        f"POST {path} HTTP/1.1\r\nHost: auth\r\nX-Forwarded-For: {address}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    )
    status, answer = await _exchanged(port, request.encode())
    assert status == 200, answer
    return json.loads(answer)


async def _probe(port: int) -> float:
    began = time.perf_counter()
    status, _ = await _exchanged(port, b"GET /healthz HTTP/1.1\r\nHost: auth\r\nConnection: close\r\n\r\n")
    assert status == 200
    return time.perf_counter() - began


async def _exchanged(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await answer_of(reader)
    finally:
        writer.close()
