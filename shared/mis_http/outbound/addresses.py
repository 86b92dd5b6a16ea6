"""Which addresses strangers may send us to: those of the public internet, and nothing behind our own doors.

The ranges are spelled out (IANA's special-purpose registries, RFC 6890) because what `ipaddress` calls global
differs between Python versions and leaves some of them out.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_SPECIAL_V4: Final = tuple(
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # A cloud's own services answer machines inside it at this address, which looks like any other.
        "168.63.129.16/32",
    )
)
# Everything else of IPv6 is local, mapped from IPv4, translated (NAT64) or unassigned.
_UNICAST_V6: Final = ip_network("2000::/3")
_SPECIAL_V6: Final = tuple(
    ip_network(network)
    # Protocol assignments with Teredo, documentation, 6to4 (which carries an IPv4 address), documentation.
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


def is_public(text: str) -> bool:
    """Return whether `text` is an address of the public internet; what is no address is not."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return False
    if not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _SPECIAL_V6)
