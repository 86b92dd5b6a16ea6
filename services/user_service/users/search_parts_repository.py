"""What the statements of a search have in common: the order of the list, its narrowing, and the page's place.

A statement of this size takes longer to build than to run, so there is one for each shape of a search, with
its values given apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Select, func, select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import InstrumentedAttribute

from mis_models.accounts import UserRow
from user_service.users.term_repository import ONE, TRUE, given, is_exactly

Columns = tuple[InstrumentedAttribute[Any], ...]


class Narrowing(NamedTuple):
    """The list is narrowed by a column, perhaps to what most users have, such as `active`."""

    column: str
    is_usual: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a search its statements depend on; `stems` of the words are long enough to have one.

    The words stand by length, the longest one at place 0. The first column that is shown is the id.
    """

    shown: Columns
    words: int
    stems: int
    filters: tuple[Narrowing, ...]
    is_ascending: bool
    is_first_page: bool
    is_first_look: bool = False

    @property
    def at_first(self) -> "Shape":
        """The shape of the search's first statement, which is another one for a word in a narrowed list."""
        return replace(self, is_first_look=True) if self.stems == 1 and self.filters else self


class Parts:
    """Parts of a statement of one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.places = range(shape.words)
        self.length = given("length", func.count())

    def once_each(self, rows: Select[Any], user_id: Any) -> Select[Any]:
        """Return each row's user once, in the list's order."""
        # So written, what is the same is found by sorting. A table of hashes would be made in the size that
        # Postgres expects, which costs more than the search where none is put into it.
        return rows.ext(distinct_on(user_id)).order_by(self.directed(user_id))

    def cut(self, rows: Select[Any], user_id: Any) -> Select[Any]:
        """Return the first rows in the list's order, one more than the page holds."""
        return rows.order_by(self.directed(user_id)).limit(self.length)

    def directed(self, column: Any) -> ColumnElement[Any]:
        """Return the column in the list's order."""
        return cast("ColumnElement[Any]", column.asc() if self.shape.is_ascending else column.desc())

    def is_ahead(self, user_id: Any) -> ColumnElement[bool]:
        """Return whether the user stands behind the page before."""
        if self.shape.is_first_page:
            return true()
        after = given("after", UserRow.id)
        return cast("ColumnElement[bool]", user_id > after if self.shape.is_ascending else user_id < after)

    def is_wanted(self, user_id: Any) -> ColumnElement[bool]:
        """Return whether the user is in the narrowed list, asked user by user."""
        filters = list(self.filters(UserRow))
        if not filters:
            return true()
        one = select(TRUE).where(UserRow.id == user_id, *filters).limit(ONE)
        return one.correlate_except(UserRow).scalar_subquery()

    def filters(self, user: Any) -> Iterator[ColumnElement[bool]]:
        """Yield what narrows the list."""
        for one in self.shape.filters:
            yield is_exactly(getattr(user, one.column), given(f"wanted_{one.column}", UserRow.role))

    def users(self, found: Any) -> Select[Any]:
        """Return the page's users, of those whose ids are found; an id that is null is shown as such."""
        one_user = select(*self.shape.shown).where(UserRow.id == found.c.id).limit(ONE)
        users = one_user.lateral("users_found")
        return self.cut(select(*users.c).select_from(found.outerjoin(users, true())), found.c.id)
