from ipaddress import ip_network

import pytest

from mis_tenancy.http.hosts import HostMalformed, host_name, host_source, is_trusted
from mis_tenancy.tenant import Source, SourceKind

BASES = ("mis.local", "eu.mis.local", "localhost")


@pytest.mark.parametrize(
    "raw",
    [
        b"acme.mis.local",
        b"ACME.mis.LOCAL",
        b"acme.mis.local.",
        b"acme.mis.local:8000",
        b"acme.localhost:8000",
        b"acme.eu.mis.local",
        b"acme.mis.local:",
    ],
)
def test_one_label_under_a_base_domain_is_a_subdomain(raw: bytes) -> None:
    """Catalogue 15."""
    assert host_source(raw, BASES) == Source(SourceKind.SUBDOMAIN, slug="acme")


@pytest.mark.parametrize(
    "raw",
    [
        b"mis.local",
        b"eu.mis.local",
        b"localhost:8000",
        b"www.mis.local",
        b"api.mis.local",
        b"admin.mis.local",
        b"a.b.mis.local",
        b"xn--bcher-kva.mis.local",
        b"127.0.0.1",
        b"127.0.0.1:8000",
        b"[::1]",
        b"[2001:DB8::1]:80",
        b"user_service",
        b"tenant-service:3006",
        b"0191d2a0-0000-7000-8000-000000000000.mis.local",
    ],
)
def test_addresses_services_base_domains_reserved_and_deeper_labels_are_no_source(raw: bytes) -> None:
    """Catalogue 14."""
    assert host_source(raw, BASES) is None


@pytest.mark.parametrize(
    "raw", [b"a.mis.local.evil.com", b"evil-mis.local", b"members.acme.example", b"x.mis.localx"]
)
def test_a_name_outside_the_base_domains_is_a_candidate_for_a_verified_domain(raw: bytes) -> None:
    """Catalogue 14."""
    assert host_source(raw, BASES) == Source(SourceKind.DOMAIN, host=raw.decode())


def test_a_label_that_merely_ends_like_another_tenants_is_its_own_name() -> None:
    """Catalogue 14."""
    assert host_source(b"evil-acme.mis.local", BASES) == Source(SourceKind.SUBDOMAIN, slug="evil-acme")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b".",
        b"..",
        b"a..mis.local",
        b".mis.local",
        b"acme.mis.local..",
        b"acme.mis.local:80@evil",
        b"user@acme.mis.local",
        b"acme.mis.local/../admin",
        b"acme.mis.local#x",
        b"acme.mis.local?x",
        b"acme .mis.local",
        b"acme.mis.local\t",
        b"acme.mis.local:65536",
        b"acme.mis.local:-1",
        b"acme.mis.local:8o",
        b"a:b:c",
        b"::1",
        b"[::1",
        b"[::1]x",
        b"[gg::]",
        b"[]",
        b"x" * 300,
        b".".join([b"a" * 60] * 5),
        b"a" * 64 + b".mis.local",
        "bücher.mis.local".encode(),
        "\u0430cme.mis.local".encode(),
        b"acme.mis.local\0",
        b"acme%2emis.local",
        b"acme.mis.local\\evil",
        b"1.2.3",
        b"999.1.1.1",
        b"1.2.3.4.5",
        b"2130706433",
        b"-acme.mis.local",
        b"acme-.mis.local",
        b"a_b.mis.local",
        b"a.mis.local",
        b"x/api/v1/auth/login?",
        b"acme.mis.local;x",
    ],
)
def test_a_malformed_host_is_refused(raw: bytes) -> None:
    """Catalogue 15, 16."""
    with pytest.raises(HostMalformed):
        host_source(raw, BASES)


def test_an_ipv6_literal_is_normalised() -> None:
    """Catalogue 15."""
    assert host_name(b"[2001:0DB8:0::1]:443") == "[2001:db8::1]"


def test_only_a_peer_inside_the_trusted_networks_is_trusted() -> None:
    proxies = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert is_trusted("10.1.2.3", proxies)
    assert is_trusted("fd00::1", proxies)
    assert not any(is_trusted(peer, proxies) for peer in ("11.0.0.1", "unknown", "", "::ffff:10.0.0.1.evil"))
    assert not is_trusted("10.1.2.3", ())
