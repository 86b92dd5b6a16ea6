import asyncio
import string
import threading
import unicodedata
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from argon2 import PasswordHasher
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from mis_accounts import password_rules as rules
from mis_accounts import passwords as module
from mis_accounts.password_rules import PasswordPolicyUnmet, require_policy, unmet_rules
from mis_accounts.passwords import Passwords

NOTHING: dict[str, Any] = {"minLength": 8, "policyMode": "composition"}
FLAGS = {
    "requireUppercase": ("require_uppercase", "A"),
    "requireLowercase": ("require_lowercase", "a"),
    "requireNumbers": ("require_numbers", "1"),
    "requireSpecialChars": ("require_special_chars", "-"),
}


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(workers=2)
    yield made
    made.close()


def codes(password: str, policy: dict[str, Any], *context: str) -> set[str]:
    return {problem["code"] for problem in unmet_rules(password, policy, context)}


@pytest.mark.parametrize("asked", list(product([False, True], repeat=4)))
@pytest.mark.parametrize("had", list(product([False, True], repeat=4)))
def test_each_flag_of_the_policy_is_honoured(asked: tuple[bool, ...], had: tuple[bool, ...]) -> None:
    """Catalogue 85."""
    policy = NOTHING | dict(zip(FLAGS, asked, strict=True))
    kinds = [sample for (_, sample), present in zip(FLAGS.values(), had, strict=True) if present]
    password = ("".join(kinds) or " ") * 8
    missed = {
        code for (code, _), want, has in zip(FLAGS.values(), asked, had, strict=True) if want and not has
    }
    assert codes(password, policy) == missed


def test_every_unmet_rule_is_named_at_once() -> None:
    policy = {"minLength": 12} | dict.fromkeys(FLAGS, True)
    with pytest.raises(PasswordPolicyUnmet) as refused:
        require_policy("", policy)
    named = {problem["code"] for problem in refused.value.members["errors"]}
    assert named == {"min_length", *(code for code, _ in FLAGS.values())}


def test_letters_of_any_script_count() -> None:
    assert codes("ÄÖÜäöü12", NOTHING | {"requireUppercase": True, "requireLowercase": True}) == set()


def test_length_is_counted_after_composing() -> None:
    assert codes(unicodedata.normalize("NFD", "üüüüüüü"), NOTHING) == {"min_length"}
    assert codes(unicodedata.normalize("NFD", "üüüüüüüü"), NOTHING) == set()


@pytest.mark.parametrize(
    ("password", "missed"),
    [
        ("password123", {"common_password", "easily_guessed"}),
        ("PassWord123", {"common_password", "easily_guessed"}),
        ("lovelace for ever and ever", {"context_word"}),
        ("my-ACME-branded-key", {"context_word"}),
        ("copper.rockets@lantern", {"context_word"}),
        ("the analytical engine runs", {"context_word"}),
        ("Lovelace1", {"context_word", "easily_guessed"}),
        ("aaaaaaaaaaaaaaaa", {"easily_guessed"}),
        ("abcdefghijklmnop", {"easily_guessed"}),
        ("P4ssw0rdP4ssw0rd", {"easily_guessed"}),
        ("qwerty", {"min_length", "common_password", "easily_guessed"}),
        ("ada is a short word", set()),
        ("quiet copper lantern", set()),
        ("Пароль длинный и странный", set()),
        ("a" * 40 + " quiet copper lantern", set()),
    ],
)
def test_the_nist_mode_refuses_what_is_tried_first(password: str, missed: set[str]) -> None:
    """Catalogue 85."""
    policy = {"minLength": 8, "policyMode": "nist"} | dict.fromkeys(FLAGS, True)
    context = ("ada.lovelace@rockets.example", "Ada Lovelace", "acme-rockets", "Analytical Engines")
    assert codes(password, policy, *context) == missed


def test_the_three_thousand_most_common_passwords_are_refused() -> None:
    """Catalogue 85."""
    policy = {"minLength": 8, "policyMode": "nist"}
    common = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= 8][:3_000]
    assert len(common) == 3_000
    assert set(common) <= rules._common_passwords()
    for word in (*common[::100], "changeme123"):
        assert "common_password" in codes(word.upper(), policy)


async def test_a_password_is_judged_before_it_is_hashed_and_not_on_the_event_loop(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 84, 85."""
    threads: list[str] = []

    def judge(*_: Any, **__: Any) -> None:
        threads.append(threading.current_thread().name)

    monkeypatch.setattr(module, "require_policy", judge)
    await passwords.hash_new("quiet copper lantern", NOTHING, ())
    assert [name.startswith("argon2") for name in threads] == [True]
    monkeypatch.undo()
    monkeypatch.setattr(module, "_HASHER", None)
    with pytest.raises(PasswordPolicyUnmet):
        await passwords.hash_new("short", NOTHING, ())


@pytest.mark.parametrize("kind", [string.printable[:94], "ab", "пароль", "a"])
def test_the_longest_password_is_judged_in_bounded_steps(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 85."""
    judged: list[int] = []

    def judge(text: str, **_: Any) -> dict[str, int]:
        judged.append(len(text))
        return {"score": 0}

    monkeypatch.setattr(rules, "zxcvbn", judge)
    codes((kind * 1_024)[:512], {"minLength": 8, "policyMode": "nist"})
    assert judged == [32, 100]


async def test_a_hash_is_argon2id_of_at_least_the_recommended_cost(passwords: Passwords) -> None:
    """Catalogue 83."""
    encoded = await passwords.hash("correct horse")
    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify(encoded, "correct horse")
    assert not await passwords.verify(encoded, "correct horsf")
    assert not passwords.needs_rehash(encoded)


async def test_an_older_hash_verifies_and_asks_for_a_new_one(passwords: Passwords) -> None:
    """Catalogue 83."""
    old = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash("correct horse")
    assert await passwords.verify(old, "correct horse")
    assert passwords.needs_rehash(old)


async def test_a_password_is_one_however_it_was_composed(passwords: Passwords) -> None:
    """Catalogue 83."""
    encoded = await passwords.hash("Zoe\u0308 " * 16)
    assert await passwords.verify(encoded, "Zo\u00eb " * 16)


async def test_nothing_after_the_seventy_second_byte_is_dropped(passwords: Passwords) -> None:
    """Catalogue 83."""
    encoded = await passwords.hash("x" * 100 + "a")
    assert not await passwords.verify(encoded, "x" * 100 + "b")


async def test_a_huge_password_is_refused_before_hashing(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 83."""
    monkeypatch.setattr(module, "_HASHER", None)
    with pytest.raises(PasswordPolicyUnmet) as refused:
        await passwords.hash("x" * 2**20)
    assert refused.value.members["errors"][0]["code"] == "max_length"
    assert not await passwords.verify("$argon2id$anything", "x" * 2**20)


async def test_nobodys_password_is_verified_too_and_never_right(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []

    def matches(encoded: str, text: str) -> bool:
        verified.append(encoded)
        return True

    monkeypatch.setattr(module, "_matches", matches)
    assert not await passwords.verify(None, "the password of no account")
    assert verified[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_what_is_no_hash_matches_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify("not a hash", "anything")


async def test_no_more_hashes_run_at_once_than_there_are_workers(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 84."""
    lock, running, most = threading.Lock(), 0, 0

    def counted(encoded: str, text: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(module, "_matches", counted)
    await asyncio.gather(*(passwords.verify("encoded", "text") for _ in range(200)))
    assert most == 2
