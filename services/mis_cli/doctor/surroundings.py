"""Looks at what stands around Postgres and Redis: the store, mail, the spool's disk, names and the URL."""

import asyncio
import secrets
import shutil
import socket
import tempfile
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from mis_cli.doctor.findings import Finding, fail, fine, warn
from mis_http.service.settings import ServiceSettings
from mis_mail.smtp import Server, SmtpTransport
from mis_tenancy.identifiers import new_id

# As much as the spool of one process may take.
_SPOOL_BYTES: Final = 256 * 2**20


async def storage(settings: ServiceSettings) -> Sequence[Finding]:
    """Write, read and delete an object of nobody's."""
    await settings.storage().of(new_id()).probe()
    return [fine("storage", "an object was written, read and deleted")]


async def mail(settings: ServiceSettings) -> Sequence[Finding]:
    """Say whether the mail server lets us in, or what stands in for one."""
    if settings.smtp_url is not None:
        server = Server.parse(settings.smtp_url)
        await SmtpTransport(server).check()
        return [fine("mail", f"{server.host}:{server.port} lets us in")]
    advice = "Set MIS_SMTP_URL to smtp://user:password@host:port."
    if settings.mail_dir is not None:
        return [warn("mail", f"nothing is sent; mails are kept as files in {settings.mail_dir}", advice)]
    return [warn("mail", "nothing is sent: invitations and resets reach nobody", advice)]


async def spool(directory: Path) -> Sequence[Finding]:
    """Say whether audit records can wait on this machine's disk."""
    try:
        free = await asyncio.to_thread(_write_in, directory)
    except OSError as error:
        advice = f"Make {directory} a directory that the services' user may write, on a disk that stays."
        return [fail("spool", f"cannot be written ({error.strerror})", advice)]
    detail = f"{directory} is writable, {free // 2**20} MiB are free"
    if free < _SPOOL_BYTES:
        advice = f"Free at least {_SPOOL_BYTES // 2**20} MiB: a process whose spool is full answers 503."
        return [fail("spool", detail, advice)]
    return [fine("spool", detail)]


def _write_in(directory: Path) -> int:
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"doctor")
    return shutil.disk_usage(directory).free


async def domains(settings: ServiceSettings) -> Sequence[Finding]:
    """Say whether tenants' names below each base domain lead anywhere."""
    return [await _domain(domain) for domain in settings.base_domains]


async def _domain(domain: str) -> Finding:
    name = f"domain {domain}"
    if domain.rpartition(".")[2] == "localhost":
        return fine(name, "leads to this machine in every browser (RFC 6761)")
    below = f"doctor-{secrets.token_hex(4)}.{domain}"
    if await _resolves(below):
        return fine(name, "names below it resolve")
    advice = f"Add a wildcard record *.{domain}, or tenants are found by header and custom domain alone."
    return warn(name, "names below it do not resolve here", advice)


async def _resolves(host: str) -> bool:
    try:
        return bool(await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except socket.gaierror:
        return False


async def public_url(url: str) -> Sequence[Finding]:
    """Say whether the URL in mails and tokens is one that clients can use, and whether we are behind it."""
    parts = urlsplit(url)
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        return [fail("public URL", "is no plain URL", "Set MIS_PUBLIC_URL to https:// and a host.")]
    found = []
    if parts.scheme == "http" and not _is_near(parts.hostname):
        advice = "Serve it by https:// and set MIS_PUBLIC_URL so; browsers send passkeys nowhere else."
        found.append(warn("public URL", "sends passwords and tokens in clear", advice))
    return [*found, await _reach(url)]


def _is_near(host: str) -> bool:
    if host.rpartition(".")[2] == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _reach(url: str) -> Finding:
    advice = "From where clients are, this URL must lead to the gateway; from here it may not have to."
    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(f"{url}/.well-known/openid-configuration")
            issuer = answer.json().get("issuer") if answer.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        return warn("public URL", f"{url} gives no answer of ours ({type(error).__name__})", advice)
    if issuer == url:
        return fine("public URL", f"{url} leads to this suite")
    if issuer is None:
        return warn("public URL", f"{url} answers {answer.status_code}", advice)
    named = f"{url} leads to a suite that calls itself {issuer}"
    return fail("public URL", named, "Set MIS_PUBLIC_URL alike everywhere, or tokens are refused.")
