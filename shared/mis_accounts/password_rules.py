"""What a tenant's password policy asks of a password, each unmet rule by name.

`composition` is the classic policy: a length and kinds of characters. `nist` asks for length alone and
refuses what an attacker tries first: common passwords, words of the person's or the tenant's own, and what
follows a pattern (NIST SP 800-63B). Judging a pattern takes milliseconds, so it is done in the threads of
`Passwords` and not on the event loop.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from mis_tenancy.composed import composed
from mis_tenancy.errors import ProblemError

LONGEST_BYTES: Final = 1_024
_SHORTEST: Final = 8
_SHORTEST_CONTEXT_WORD: Final = 4
_WORD: Final = re.compile(r"[^\W_]+")
_COMMON: Final = Path(__file__).with_name("common_passwords.txt")
# Of zxcvbn's scores, 0 to 4, the least that is out of reach for somebody who has no stolen hashes.
_LEAST_SCORE: Final = 3
# Judging takes longer than linearly many characters; a beginning that is good enough decides the most.
_JUDGED_FIRST: Final = 32
_JUDGED_AT_MOST: Final = 100

_KINDS: Final[Sequence[tuple[str, str, Callable[[str], bool], str]]] = (
    ("requireUppercase", "require_uppercase", str.isupper, "needs an upper-case letter"),
    ("requireLowercase", "require_lowercase", str.islower, "needs a lower-case letter"),
    ("requireNumbers", "require_numbers", str.isdecimal, "needs a digit"),
    (
        "requireSpecialChars",
        "require_special_chars",
        lambda character: not character.isalnum() and not character.isspace(),
        "needs a character that is neither letter, digit nor space",
    ),
)


class PasswordPolicyUnmet(ProblemError):
    """The password does not meet the tenant's policy; `errors` names each unmet rule."""

    status = 422
    code = "password_policy"
    detail = "The password does not meet the tenant's policy; `errors` names each rule it misses."

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        super().__init__(errors=[dict(error) for error in errors])


def require_policy(
    password: str, policy: Mapping[str, Any], context: Sequence[str] = (), *, field: str = "password"
) -> None:
    """Raise PasswordPolicyUnmet unless the password meets every rule (see `unmet_rules`)."""
    if unmet := unmet_rules(password, policy, context, field=field):
        raise PasswordPolicyUnmet(unmet)


def unmet_rules(
    password: str, policy: Mapping[str, Any], context: Sequence[str] = (), *, field: str = "password"
) -> list[dict[str, str]]:
    """Return `{field, code, message}` of each rule of `policy` that the password misses.

    `policy` is the value of `security.password_policy`; the words of `context` are those that an attacker
    would try: the person's address and name, the tenant's slug and name.
    """
    text = normalized(password)
    unmet = [*_length(text, policy)]
    unmet += (
        _easily_guessed(text, context) if policy.get("policyMode") == "nist" else _composition(text, policy)
    )
    return [{"field": field, "code": code, "message": message} for code, message in unmet]


def normalized(password: str) -> str:
    """Return the password in the one form that is judged and hashed, however a keyboard composed it.

    Of one that is too long it is a beginning that still is.
    """
    return composed(password, LONGEST_BYTES)


def _length(text: str, policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    shortest = max(int(policy.get("minLength", _SHORTEST)), _SHORTEST)
    if len(text.encode()) > LONGEST_BYTES:
        return [("max_length", f"takes at most {LONGEST_BYTES} bytes")]
    return [("min_length", f"needs at least {shortest} characters")] if len(text) < shortest else []


def _composition(text: str, policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (code, message)
        for flag, code, is_kind, message in _KINDS
        if policy.get(flag) and not any(map(is_kind, text))
    ]


def _easily_guessed(text: str, context: Sequence[str]) -> list[tuple[str, str]]:
    folded = text.casefold()
    unmet = []
    if folded in _common_passwords():
        unmet.append(("common_password", "is one of the passwords that are tried first"))
    words = {word for phrase in context for word in _WORD.findall(phrase.casefold())}
    if any(len(word) >= _SHORTEST_CONTEXT_WORD and word in folded for word in words):
        unmet.append(("context_word", "contains your name, your address or the tenant's name"))
    if not _is_hard_to_guess(text, sorted(words)):
        unmet.append(("easily_guessed", "follows a pattern that is easily guessed; add some unrelated words"))
    return unmet


def _is_hard_to_guess(text: str, words: Sequence[str]) -> bool:
    lengths = {_JUDGED_FIRST, min(max(len(text), _JUDGED_FIRST), _JUDGED_AT_MOST)}
    return any(
        zxcvbn(text[:length], user_inputs=words, max_length=_JUDGED_AT_MOST)["score"] >= _LEAST_SCORE
        for length in sorted(lengths)
    )


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset(_COMMON.read_text(encoding="utf-8").casefold().split()) | {*FREQUENCY_LISTS["passwords"]}
