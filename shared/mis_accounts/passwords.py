"""Password hashes: argon2id, in a few threads of their own, where new passwords are judged too.

Hashing takes 19 MiB and tens of milliseconds on purpose, so the number of threads bounds both the memory that
a flood of sign-ins can take and what it takes from the event loop.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mis_accounts.password_rules import (
    LONGEST_BYTES,
    PasswordPolicyUnmet,
    normalized,
    require_policy,
)

# The OWASP cheat sheet's second choice: 19 MiB, two passes, one lane.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class Passwords:
    """Hashes and verifies, at most `workers` at a time; waiting callers queue without memory of their own."""

    def __init__(self, workers: int = 2) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        # Nobody's password: what is verified where there is no account, so that its absence takes as long.
        self._nobody = _HASHER.hash("the password of no account")

    async def hash_new(
        self, password: str, policy: Mapping[str, Any], context: Sequence[str], *, field: str = "password"
    ) -> str:
        """Return the encoded hash of a password that meets the policy.

        Raise PasswordPolicyUnmet, naming each rule that it misses (see `unmet_rules`), before any hashing.
        """
        judged = partial(require_policy, password, policy, context, field=field)
        await asyncio.get_running_loop().run_in_executor(self._threads, judged)
        return await self.hash(password)

    async def hash(self, password: str) -> str:
        """Return the encoded hash; raise PasswordPolicyUnmet, before any work, for more than 1,024 bytes."""
        text = normalized(password)
        if _is_too_long(text):
            message = f"takes at most {LONGEST_BYTES} bytes"
            raise PasswordPolicyUnmet([{"field": "password", "code": "max_length", "message": message}])
        return await asyncio.get_running_loop().run_in_executor(self._threads, _HASHER.hash, text)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Return whether `password` is the one behind `encoded`.

        With `None` the answer is False and takes as long. More than 1,024 bytes are nobody's password.
        """
        text = normalized(password)
        if _is_too_long(text):
            return False
        target = encoded or self._nobody
        matches = await asyncio.get_running_loop().run_in_executor(self._threads, _matches, target, text)
        return matches and encoded is not None

    def needs_rehash(self, encoded: str) -> bool:
        """Return whether `encoded` was made with other parameters than today's."""
        return _HASHER.check_needs_rehash(encoded)

    def close(self) -> None:
        """Let the threads end; what is queued is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _is_too_long(text: str) -> bool:
    return len(text.encode()) > LONGEST_BYTES


def _matches(encoded: str, text: str) -> bool:
    try:
        return _HASHER.verify(encoded, text)
    except (VerificationError, InvalidHashError):
        return False
