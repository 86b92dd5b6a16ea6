"""What one audit record says, and the line it is in a spool.

A request is written twice, once when it is admitted and once when its outcome is known, so that a process
that dies between the two still leaves who asked for what. A line is one JSON object with one of the members
`admit`, `finish` and `note`; every text in it came from a client in the end, so it is capped and holds no
control character. Where a request came from stands in it as ciphertext.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.sealing import Origin, SpoolCipher, printable

Kind = Literal["request", "security", "change"]

UNKNOWN: Final = "unknown"
# The longest an outcome's line can be. A spool keeps as much room for every open admission.
OUTCOME_BYTES: Final = 384


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did what in a tenant, from where and with what outcome; the moment is the one in `id` (UUIDv7).

    `action` of a request is "METHOD /route", `sources` are the kinds that named the tenant. `counted` says
    that the request used up daily quota, `rejected` that the limiter turned it away. `outcome`, `status`,
    `duration_us` and `feature`, the plan's feature that was used, stay empty until the outcome is known.
    """

    tenant_id: UUID
    kind: Kind
    action: str
    id: UUID = msgspec.field(default_factory=new_id)
    actor: UUID | None = None
    actor_kind: str | None = None
    resource: str | None = None
    outcome: str | None = None
    status: int | None = None
    duration_us: int | None = None
    origin: Origin | None = None
    request_id: str | None = None
    sources: Sequence[str] = ()
    counted: bool = False
    rejected: bool = False
    feature: str | None = None


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the admitted request `id` ended; `status` is empty where no answer was begun."""

    id: UUID
    status: int | None
    outcome: str
    duration_us: int
    feature: str | None = None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a spool; exactly one member is set."""

    admit: AuditRecord | None = None
    finish: Outcome | None = None
    note: AuditRecord | None = None


_CAPS: Final = {
    "action": 256,
    "resource": 512,
    "outcome": 32,
    "actor_kind": 32,
    "request_id": 128,
    "feature": 32,
}
_TEXTS = attrgetter(*_CAPS)
_CAP_LIST: Final = tuple(_CAPS.values())
_SOURCES_CAP: Final = 16
_SOURCE_CAP: Final = 256


class Lines:
    """Spells and reads the lines of spools; `cipher` seals and opens the origins in them."""

    def __init__(self, cipher: SpoolCipher) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=cipher.seal)
        self._decoder = msgspec.json.Decoder(Line, dec_hook=lambda _, sealed: cipher.open(str(sealed)))

    def admission(self, record: AuditRecord) -> bytes:
        """Return the line of a request that was let in."""
        return self._encoder.encode(Line(admit=cleaned(record))) + b"\n"

    def note(self, record: AuditRecord) -> bytes:
        """Return the line of a record that is complete as it stands."""
        return self._encoder.encode(Line(note=cleaned(record))) + b"\n"

    def outcome(self, outcome: Outcome) -> bytes:
        """Return the line that completes an admission; it is never longer than OUTCOME_BYTES."""
        text = printable(outcome.outcome, _CAPS["outcome"])
        if text != outcome.outcome:
            outcome = replace(outcome, outcome=text)
        return self._encoder.encode(Line(finish=outcome)) + b"\n"

    def parse(self, raw: bytes) -> Line | None:
        """Return the line `raw`, without its line feed, or None where a crash or the disk has damaged it."""
        try:
            return self._decoder.decode(raw)
        except msgspec.MsgspecError:
            return None


def cleaned(record: AuditRecord) -> AuditRecord:
    """Return `record` with every text capped and printable; the record itself where it already is."""
    for text, cap in zip(_TEXTS(record), _CAP_LIST, strict=True):
        if text is not None and (len(text) > cap or not text.isprintable()):
            return _clean_copy(record)
    sources = record.sources
    if sources and (len(sources) > _SOURCES_CAP or len(joined := "".join(sources)) > _SOURCE_CAP):
        return _clean_copy(record)
    return record if not sources or joined.isprintable() else _clean_copy(record)


def _clean_copy(record: AuditRecord) -> AuditRecord:
    texts = zip(_CAPS.items(), _TEXTS(record), strict=True)
    clean: dict[str, Any] = {
        name: text if text is None else printable(text, cap) for (name, cap), text in texts
    }
    each = _SOURCE_CAP // _SOURCES_CAP
    sources = tuple(printable(source, each) for source in record.sources[:_SOURCES_CAP])
    return replace(record, sources=sources, **clean)
