"""Judges rows before anything is asked of the database: each is fit to become a user, or refused."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mis_accounts.attributes import require_schema
from mis_accounts.emails import Email, parse_email
from mis_http.problems import field_problem
from mis_tenancy.access import require_grant
from mis_tenancy.errors import ProblemError, ValidationFailed
from mis_tenancy.tenant import Principal
from user_service.imports.files import Row
from user_service.imports.results import RowResult
from user_service.imports.schemas import ImportedUser


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that is fit to become a user, if its address is free and a seat is left."""

    number: int
    email: Email
    user: ImportedUser


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges rows that `by` imports into a tenant of this configuration."""

    by: Principal
    configuration: Mapping[str, Any]

    def judged(self, rows: Iterable[Row]) -> list[Candidate | RowResult]:
        """Return each row as a candidate, or as the result that says what is wrong with it."""
        return [self._judged(row) for row in rows]

    def _judged(self, row: Row) -> Candidate | RowResult:
        try:
            if row.problem is not None:
                raise row.problem
            user = _validated(row.fields)
            require_grant(self.by, user.role)
            require_schema(self.configuration, user.attributes)
            return Candidate(row.number, parse_email(user.email), user)
        except ProblemError as error:
            return RowResult.refused(row.number, error)


def _validated(fields: Any) -> ImportedUser:
    try:
        return ImportedUser.model_validate(fields)
    except ValidationError as error:
        raise ValidationFailed([field_problem(one) for one in error.errors()]) from error
