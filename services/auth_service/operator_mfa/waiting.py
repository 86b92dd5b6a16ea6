"""The token that an operator holds between the password and the code.

It is signed instead of stored: it names the operator and a time, and covers the password and the last
sign-in. So it runs out after five minutes, and dies with the password or the next sign-in, its own included.
"""

import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_models.platform import OperatorRow
from mis_tenancy.encryption import Wrapping
from mis_tenancy.tokens.jose import decode_segment, encode_segment

LIFETIME: Final = timedelta(minutes=5)
_PREFIX: Final = "mis_mo_"
_TEXT: Final = re.compile(rf"{_PREFIX}(?P<named>[A-Za-z0-9_-]{{32}})\.(?P<proof>[A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True, slots=True)
class WaitingToken:
    """The token taken apart; nothing in it is believed before `proof` is compared."""

    operator_id: UUID
    expires: int
    proof: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The token as its holder gets it."""
        named = encode_segment(self.operator_id.bytes + self.expires.to_bytes(8))
        return f"{_PREFIX}{named}.{encode_segment(self.proof)}"


def new_waiting_token(wrapping: Wrapping, operator: OperatorRow, now: datetime) -> WaitingToken:
    """Make the token of an operator whose password was right."""
    expires = int((now + LIFETIME).timestamp())
    return WaitingToken(operator.id, expires, _proof(wrapping, operator, expires))


def parse_waiting_token(text: str) -> WaitingToken | None:
    """Return the token that `text` is, in its one spelling, or None."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    try:
        named = decode_segment(match["named"])
        return WaitingToken(
            UUID(bytes=named[:16]), int.from_bytes(named[16:]), decode_segment(match["proof"])
        )
    except ValueError:
        return None


def is_good(wrapping: Wrapping, token: WaitingToken, operator: OperatorRow, now: datetime) -> bool:
    """Return whether the token was given to the operator as they are now, and has not run out."""
    proof = _proof(wrapping, operator, token.expires)
    return hmac.compare_digest(token.proof, proof) and now.timestamp() < token.expires


def _proof(wrapping: Wrapping, operator: OperatorRow, expires: int) -> bytes:
    last = operator.last_login_at
    parts = ("operator second step", str(operator.id), str(expires), operator.password_hash)
    covered = "\n".join((*parts, "never" if last is None else last.astimezone(UTC).isoformat()))
    return wrapping.fingerprint(covered.encode())
