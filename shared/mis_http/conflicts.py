"""What Postgres undoes because two transactions stood in each other's way, and what callers hear of it."""

from typing import Final

from sqlalchemy.exc import DBAPIError

from mis_tenancy.errors import InternalError, ProblemError

# deadlock_detected and serialization_failure: the transaction is undone, and the next try meets nobody.
_PASSING: Final = frozenset({"40P01", "40001"})


class TransactionConflict(ProblemError):
    """Another request changed the same things at the same moment."""

    status = 503
    code = "transaction_conflict"
    detail = "Another request changed the same things at the same moment. Nothing was changed. Send it again."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


def refusal_behind(error: Exception) -> ProblemError:
    """Return what a caller is told of `error`: itself, a conflict that passes, or a defect of ours."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _PASSING:
        return TransactionConflict()
    return InternalError()
