"""Refusals of the import.

ProblemError
├── RowMalformed 422    of one row
└── ImportRefused 422   of a whole file that was to be imported whole
"""

from mis_tenancy.errors import ProblemError


class RowMalformed(ProblemError):
    """The row cannot be read as its file's format says."""

    status = 422
    code = "row_malformed"
    detail = "This row is not what the file's format says."


class ImportRefused(ProblemError):
    """A file that goes in whole or not at all has rows that cannot go in."""

    status = 422
    code = "import_refused"
    detail = "Nothing was imported, because rows of the file cannot be. `rows` names the first of them."
