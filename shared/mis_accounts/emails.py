"""E-mail addresses: checked by syntax alone, and compared without regard to case.

No name server is asked: an address is proved by the mail that reaches it, and a lookup would let a stranger's
request wait on the network. Domains kept for tests and private networks are addresses like any other.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from mis_tenancy.composed import composed
from mis_tenancy.errors import ValidationFailed

LONGEST: Final = 254

# What nearly all addresses look like, and the library takes as it is but for the domain's case; it takes a
# hundred times as long to say so. Encoded labels (`xn--`) are left to it.
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"(?![A-Za-z0-9]{2}--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN: Final = re.compile(
    rf"(?=[^@]{{1,64}}@.{{1,253}}\Z)({_ATOM}(?:\.{_ATOM})*)@((?:{_LABEL}\.)+(?=[A-Za-z]){_LABEL})"
)

# The library's documented way to accept `.test`, `.local` and their kind.
SPECIAL_USE_DOMAIN_NAMES.clear()


@dataclass(frozen=True, slots=True)
class Email:
    """An address as it is shown and, in `norm`, as it is compared."""

    address: str
    norm: str


def parse_email(text: str, *, field: str = "email") -> Email:
    """Return the address that `text` is; raise ValidationFailed on `field` where it is none (RFC 6531)."""
    written = composed(text.strip(), LONGEST)
    if len(written) > LONGEST:
        raise ValidationFailed([_unfit(field, f"takes at most {LONGEST} characters")])
    if plain := _PLAIN.fullmatch(written):
        local, domain = plain.groups()
        return _email(f"{local}@{domain.lower()}")
    try:
        checked = validate_email(written, check_deliverability=False, globally_deliverable=False)
    except (EmailNotValidError, ValueError) as error:
        raise ValidationFailed([_unfit(field, "is not an e-mail address")]) from error
    return _email(checked.normalized)


def _email(address: str) -> Email:
    return Email(address, norm_of(address))


def norm_of(address: str) -> str:
    """Return the form under which two spellings of an address are one."""
    return unicodedata.normalize("NFC", address.casefold())


def is_same_mailbox(one: str, other: str) -> bool:
    """Return whether two addresses differ in nothing but case, so that who vouches for one means the other.

    Accounts are kept further apart than that: to `norm_of` `ß` is `ss` and a ligature its letters, which a
    mail server or an identity provider may well have given to somebody else.
    """
    return unicodedata.normalize("NFC", one.lower()) == unicodedata.normalize("NFC", other.lower())


def _unfit(field: str, message: str) -> dict[str, str]:
    return {"field": field, "code": "email_invalid", "message": message}
