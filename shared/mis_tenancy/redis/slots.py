"""Which part of a cluster's keys a key belongs to (Redis Cluster specification, "Key distribution model")."""

import binascii
from collections.abc import Sequence
from typing import Final

from mis_tenancy.redis.wire import Argument

SLOTS: Final = 16_384

# What we send that concerns no key: any node answers it.
_OF_NO_KEY: Final = frozenset({"CLUSTER", "PING", "PUBLISH"})


def slot_of(key: Argument) -> int:
    """Return the slot of a key: that of the text in its first braces, where there is some."""
    raw = key if isinstance(key, bytes) else str(key).encode()
    opened = raw.find(b"{") + 1
    if opened:
        closed = raw.find(b"}", opened)
        if closed > opened:
            raw = raw[opened:closed]
    return binascii.crc_hqx(raw, 0) % SLOTS


def key_of(command: Sequence[Argument]) -> Argument | None:
    """Return the key that decides where a command runs, its first argument; None where any node will do."""
    return None if command[0] in _OF_NO_KEY else command[1]
