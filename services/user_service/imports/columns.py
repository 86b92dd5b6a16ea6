"""What the columns of an import are called, and those that no import takes."""

from collections.abc import Iterable, Sequence
from typing import Final

from mis_tenancy.errors import ValidationFailed

REQUIRED: Final = ("email", "name")
COLUMNS: Final = (*REQUIRED, "role", "attributes")
_PASSWORDS: Final = frozenset({"password", "passwordhash", "password_hash"})


def check_columns(header: Sequence[str]) -> None:
    """Raise ValidationFailed, naming each column that is missing, unknown or there twice, or a password."""
    refuse_passwords(header)
    wrong = [
        unfit(name, "column_missing", "is a column the file needs") for name in REQUIRED if name not in header
    ]
    wrong += [
        unfit(name or "file", "column_unknown", f"is not a column; the columns are {', '.join(COLUMNS)}")
        for name in header
        if name not in COLUMNS
    ]
    wrong += [unfit(name, "column_twice", "stands twice") for name in COLUMNS if header.count(name) > 1]
    if wrong:
        raise ValidationFailed(wrong)


def refuse_passwords(names: Iterable[str]) -> None:
    """Refuse the file: passwords in it would lie in mail boxes and downloads long after the import."""
    for name in names:
        if name.lower() in _PASSWORDS:
            told = "is not imported; users without one set it by the forgotten-password mail"
            raise ValidationFailed([unfit(name, "password_column", told)])


def unfit(field: str, code: str, message: str) -> dict[str, str]:
    """Return what is wrong with a column or the file."""
    return {"field": field, "code": code, "message": message}
