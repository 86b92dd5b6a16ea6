"""The parts that the statement of a search is made of: terms of a word, and what is asked of one user.

Sub-selects with a limit or an offset keep Postgres from turning them into joins of whole tables, and values
stand behind sub-selects, so it plans a statement once and not anew for each word.
"""

from collections.abc import Iterable
from typing import Any, Final, cast

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.orm import aliased

from mis_models.accounts import UserTermRow

ONE: Final[ColumnElement[int]] = literal_column("1")
TRUE: Final[ColumnElement[bool]] = literal_column("true")
NONE: Final[ColumnElement[int]] = literal_column("0")
# The terms again, where one user's are asked for.
_PROBE: Final = aliased(UserTermRow, name="probe")


def number(value: int) -> ColumnElement[int]:
    """Return a number that is a part of the statement and no value of it."""
    return literal_column(str(value))


def given(name: str, like: Any) -> ColumnElement[Any]:
    """Return the parameter as a sub-select, behind which Postgres does not look when it plans.

    Else each word would have a plan of its own, made anew for every search, which takes as long as that. Of a
    limit so given it expects to stop early, and reads in the order that an index has; where it believed that
    there are no more rows than the limit anyway, it would read all that there are and sort them.
    """
    parameter: BindParameter[Any] = bindparam(name, type_=like.type)
    return select(parameter).scalar_subquery()


def is_exactly(column: Any, value: Any) -> ColumnElement[bool]:
    """Return whether the column has the value, so written that Postgres takes the index that has it.

    Where all users it has sampled have one value, it expects no fewer of any other, and would walk along
    everybody in search of the one who has it. Of a range it always expects few.
    """
    return and_(column == value, column >= value, column <= value)


def terms_of(place: int) -> Select[Any]:
    """Return whose the terms are that the word begins."""
    # In their index's order, lest Postgres read through the table until it has met so many.
    return select(UserTermRow.user_id).where(within(UserTermRow.term, place)).order_by(UserTermRow.term)


def users_with_word(place: int, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the users of all terms that the word begins, read in their index's order."""
    terms = select(UserTermRow.user_id.label("id")).where(*conditions, within(UserTermRow.term, place))
    ordered = terms.order_by(UserTermRow.term).offset(NONE).subquery(f"terms_{place}")
    return select(ordered.c.id)


def has_words(places: Iterable[int], user_id: Any) -> ColumnElement[bool]:
    """Return whether the user has a term of each of those words, asked user by user."""
    return and_(true(), *(_has_word(place, user_id) for place in places))


def _has_word(place: int, user_id: Any) -> ColumnElement[bool]:
    # The offset, though of nothing, keeps the range away from the index of terms, where it may be long.
    own = (
        select(_PROBE.term).where(_PROBE.user_id == user_id).offset(NONE).correlate_except(_PROBE).subquery()
    )
    return select(TRUE).where(within(own.c.term, place)).limit(ONE).scalar_subquery()


def within(term: Any, place: int) -> ColumnElement[bool]:
    """Return whether the word begins the term."""
    first, beyond = given(f"first_{place}", UserTermRow.term), given(f"beyond_{place}", UserTermRow.term)
    return and_(term >= first, term < beyond)


def are_more(rows: Select[Any], than: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether there are more rows than so many, which keeps none of them."""
    next_one = rows.limit(ONE).offset(than).subquery()
    return cast("ColumnElement[bool]", select(TRUE).select_from(next_one).scalar_subquery().is_not(None))


def count_of(rows: CTE) -> ColumnElement[int]:
    """Return how many rows there are, which has all of them made."""
    return select(func.count()).select_from(rows).scalar_subquery()
