"""Whether an answer holds what it should: the tenant's own rows, and nothing of anybody else's."""

from typing import Any

import httpx

from mis_cli.load.measures import Measures
from mis_cli.load.populace import Member

Answer = httpx.Response | None


class Checks:
    """Checks one tenant's answers; each returns whether the answer is there and right."""

    def __init__(self, member: Member, measures: Measures) -> None:
        self._member = member
        self._measures = measures

    def users(self, action: str, answer: Answer) -> bool:
        """Check a list of users, which is never empty, by their addresses."""
        rows = [] if answer is None else answer.json()
        # All of them, as each one that strays is to be told.
        wrong = [row for row in rows if not self._user(action, row)]
        return bool(rows) and not wrong

    def user(self, action: str, answer: Answer) -> bool:
        """Check one user."""
        return answer is not None and self._user(action, answer.json())

    def files(self, action: str, answer: Answer) -> bool:
        """Check a list of files by their names."""
        rows = [] if answer is None else answer.json()
        wrong = [row for row in rows if not self._file(action, row)]
        return answer is not None and not wrong

    def file(self, action: str, answer: Answer) -> bool:
        """Check one file."""
        return answer is not None and self._file(action, answer.json())

    def content(self, action: str, answer: Answer) -> bool:
        """Check what a file holds."""
        if answer is None or answer.status_code == 404:
            return False
        return self._right(action, answer.content == self._member.content, answer.content[:80])

    def mark(self, action: str, answer: Answer) -> bool:
        """Check the setting that names the tenant."""
        if answer is None:
            return False
        value = answer.json()["configValue"]
        return self._right(action, value == self._member.slug, value)

    def own_id(self, action: str, answer: Answer, *members: str) -> bool:
        """Check the tenant's id, which the body has under these names, one in the other."""
        if answer is None:
            return False
        found = answer.json()
        for name in members:
            found = found[name]
        return self._right(action, found == self._member.id, found)

    def refused(self, action: str, answer: Answer, asked: str) -> bool:
        """Check that what is another tenant's was refused."""
        self._measures.foreign_asked += 1
        if answer is None or not answer.is_success:
            return answer is not None
        return self._right(action, False, f"{asked} answered {answer.status_code}")

    def _user(self, action: str, row: dict[str, Any]) -> bool:
        return self._right(action, row["email"].endswith(self._member.domain), row["email"])

    def _file(self, action: str, row: dict[str, Any]) -> bool:
        return self._right(action, row["filename"].startswith(f"{self._member.slug}-"), row["filename"])

    def _right(self, action: str, is_right: bool, seen: object) -> bool:
        self._measures.rows_checked += 1
        if not is_right:
            self._measures.mistaken(self._member.slug, action, str(seen))
        return is_right
