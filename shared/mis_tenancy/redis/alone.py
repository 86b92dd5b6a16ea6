"""One Redis for all keys."""

from collections.abc import Mapping, Sequence

from mis_tenancy.redis.address import Address
from mis_tenancy.redis.link import Link
from mis_tenancy.redis.wire import Argument, RedisReplyError, RedisUnavailable, Wire


class Alone:
    """A link to the one server, whatever the key."""

    redirections = 0

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._link = Link(self.where, timeout)

    async def start(self) -> None:
        """Connect, or begin trying to."""
        await self._link.start()

    async def stop(self) -> None:
        """Close the connection."""
        await self._link.stop()

    @property
    def is_complete(self) -> bool:
        """Whether each key's server can be sent commands now."""
        return self._link.is_up

    @property
    def nodes(self) -> Mapping[str, bool]:
        """The server, and whether it can be sent commands now."""
        return {str(self._address): self._link.is_up}

    @property
    def failures(self) -> Mapping[str, str]:
        """Why the server cannot be sent commands, by its name; empty while it can."""
        return {} if self._link.failure is None else {str(self._address): self._link.failure}

    def where(self) -> Address:
        """Return where to listen for messages."""
        return self._address

    def knows(self, address: Address) -> bool:
        """Return whether messages may be listened for there."""
        return address == self._address

    def generation(self, key: Argument) -> int:
        """Return the run of the server; 0 while there is none."""
        return 0 if self._link.wire is None else self._link.wire.generation

    def wire_of(self, key: Argument) -> Wire:
        """Return the wire to the server; raise RedisUnavailable while there is none."""
        if self._link.wire is None:
            raise RedisUnavailable("Redis is away.")
        return self._link.wire

    def wire_for(self, command: Sequence[Argument]) -> Wire:
        """Return the wire that a command goes over; raise RedisUnavailable while there is none."""
        return self.wire_of(b"")

    def wires(self) -> Mapping[str, Wire]:
        """Return the wire to the server, by its name; raise RedisUnavailable while there is none."""
        return {str(self._address): self.wire_of(b"")}

    def redirected(self, error: RedisReplyError) -> tuple[Wire, bool]:
        """Raise the error: there is no other server to ask."""
        raise error
