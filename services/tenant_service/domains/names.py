"""What may be a tenant's own domain, spelled in the one way in which hosts are compared."""

from collections.abc import Iterable
from functools import cache
from typing import Final

import idna
from publicsuffixlist import PublicSuffixList

from mis_tenancy.http.hosts import HostMalformed, host_name
from tenant_service.domains.errors import DomainRefused

_A_LABEL: Final = "xn--"
_PUBLIC: Final = "Below this domain anybody may have names. Name one of your own that is below it."
# A name has at most 253 characters, and the one of the proof is longer than the domain's own.
_LONGEST: Final = 253 - len("_mis-verification.")


def parse_domain(text: str) -> str:
    """Return the domain in lower case, without a trailing dot, internationalised labels as A-labels.

    Raise ValueError where it is no domain name (RFC 5890): an address, a bare label, one with a port.
    """
    ascii_form = text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    try:
        name = host_name(ascii_form.encode("ascii"))
    except HostMalformed as error:
        raise ValueError("not a host") from error
    # A host may carry a port, be an address or a bare label; a domain may not.
    if ":" in ascii_form or "_" in name or "." not in name or name.rpartition(".")[2].isdigit():
        raise ValueError("not a domain")
    if len(name) > _LONGEST:
        raise ValueError("too long to be proven")
    for label in name.split("."):
        if label.startswith(_A_LABEL):
            # One that stands for nothing could be shown as anything.
            idna.ulabel(label)
    return name


def judge_domain(domain: str | None, platform_hosts: Iterable[str]) -> None:
    """Raise DomainRefused for a domain that is the platform's own, or one below which anybody has names.

    Cookies and certificates of such a public suffix would be its neighbours', too (publicsuffix.org).
    """
    if domain is None:
        return
    if any(domain == host or domain.endswith(f".{host}") for host in platform_hosts):
        raise DomainRefused("domain")
    if _public_suffixes().is_public(domain):
        raise DomainRefused("domain", _PUBLIC)


@cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()
