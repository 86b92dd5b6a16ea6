"""Where a passkey is at home, by host, without any request."""

from pathlib import Path
from typing import Any

import pytest

from auth_service.errors import PasskeyOriginUnsupported
from auth_service.passkeys.places import Arrival, usable_url
from mis_tenancy.http.requests import Network
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import PlanName
from mis_tenancy.settings import MasterKeys, TenancySettings, parse_networks
from mis_tenancy.tenant import Tenant, TenantStatus

ACME = Tenant(
    id=new_id(),
    slug="acme",
    subdomain="acme",
    name="Acme",
    plan=PlanName.CUSTOM,
    status=TenantStatus.ACTIVE,
    domain="login.acme.example",
)
PROXIES: tuple[Network, ...] = parse_networks(["10.0.0.0/8"])


def settings(issuer: str = "http://mis.local", **given: Any) -> TenancySettings:
    return TenancySettings(
        database_url="postgresql://mis_app@localhost/mis",
        issuer=issuer,
        spool_directory=Path("spool"),
        master_keys=MasterKeys({"a": bytes(32)}, "a"),
        **({"base_domains": ("mis.local", "eu.mis.local", "localhost")} | given),
    )


@pytest.mark.parametrize(
    ("host", "rp_id", "origin"),
    [
        ("acme.mis.local", "mis.local", "http://acme.mis.local"),
        ("ACME.mis.local.:80", "mis.local", "http://acme.mis.local"),
        ("acme.mis.local:8080", "mis.local", "http://acme.mis.local:8080"),
        ("mis.local", "mis.local", "http://mis.local"),
        ("app.mis.local", "mis.local", "http://app.mis.local"),
        ("acme.eu.mis.local", "eu.mis.local", "http://acme.eu.mis.local"),
        ("acme.localhost:8000", "acme.localhost", "http://acme.localhost:8000"),
        ("localhost:8000", "localhost", "http://localhost:8000"),
        ("login.acme.example", "login.acme.example", "http://login.acme.example"),
    ],
)
def test_the_id_is_the_base_domain_the_local_host_or_the_own_domain(
    host: str, rp_id: str, origin: str
) -> None:
    place = Arrival(host.encode(), settings()).place_for(ACME)
    assert (place.rp_id, place.origin) == (rp_id, origin)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1:8000", "[::1]:8000", "2130706433", "", "tenant-service", "mis.local.evil.example"),
        *("evil-mis.local", "a.acme.mis.local", "acme.example", "x.login.acme.example", "login.beta.example"),
        *("acme.localhost.evil.example", "a b", "acme.mis.local@evil.example", "é.mis.local"),
    ],
)
def test_at_any_other_host_there_are_none_and_one_is_told_where_there_are(host: str) -> None:
    """Catalogue 87."""
    with pytest.raises(PasskeyOriginUnsupported) as caught:
        Arrival(host.encode(), settings()).place_for(ACME)
    assert caught.value.members == {"url": "http://acme.mis.local/login"}
    assert "http://acme.mis.local/login" in str(caught.value)


@pytest.mark.parametrize(
    ("issuer", "bases", "url"),
    [
        ("http://127.0.0.1:8000", ("mis.local", "localhost"), "http://acme.localhost:8000/login"),
        ("http://[::1]:8000", ("mis.local", "localhost"), "http://acme.localhost:8000/login"),
        ("http://localhost:8000", ("mis.local", "localhost"), "http://acme.localhost:8000/login"),
        ("https://app.example.com", ("example.com",), "https://acme.example.com/login"),
        ("https://app.example.com:8443", ("example.com",), "https://acme.example.com:8443/login"),
        ("https://accounts.example.org", ("example.com",), "https://acme.example.com/login"),
        ("https://192.0.2.1", ("example.com",), "https://acme.example.com/login"),
    ],
)
def test_the_address_that_will_do_is_below_a_base_domain(
    issuer: str, bases: tuple[str, ...], url: str
) -> None:
    assert usable_url(ACME, settings(issuer, base_domains=bases)) == url


def test_the_scheme_is_the_configured_one_and_its_port_goes_without_saying() -> None:
    behind_tls = settings("https://mis.local", base_domains=("mis.local",))
    assert Arrival(b"acme.mis.local:443", behind_tls).place_for(ACME).origin == "https://acme.mis.local"
    assert Arrival(b"acme.mis.local:80", behind_tls).place_for(ACME).origin == "https://acme.mis.local:80"


@pytest.mark.parametrize(("peer", "rp_id"), [("10.1.2.3", "mis.local"), ("192.0.2.7", "login.acme.example")])
def test_a_forwarded_host_counts_from_a_proxy_of_ours_alone(peer: str, rp_id: str) -> None:
    headers = [(b"host", b"login.acme.example"), (b"x-forwarded-host", b"acme.mis.local")]
    scope = {"type": "http", "client": (peer, 1), "headers": headers}
    arrival = Arrival.of(scope, settings(trusted_proxies=PROXIES))
    assert arrival.place_for(ACME).rp_id == rp_id
