"""The statement of a search that collects all terms of its words, whatever that costs; it is never cut off.

It is what is left where each word is had by many, and hardly anybody has them all.
"""

from functools import cache
from typing import Any

from sqlalchemy import Select, intersect, select

from user_service.users.search_parts_repository import Parts, Shape
from user_service.users.term_repository import NONE, users_with_word


@cache
def collecting(shape: Shape) -> Select[Any]:
    """Return the select of a page of what a search of the shape finds; its values are given apart."""
    parts = Parts(shape)
    having_all = intersect(*(users_with_word(place) for place in parts.places)).subquery("having_all")
    ahead = select(having_all.c.id).where(parts.is_ahead(having_all.c.id))
    # In the list's order first, so that no more of them are asked than the page takes.
    ordered = parts.once_each(ahead, having_all.c.id).offset(NONE).subquery("ordered")
    found = parts.cut(select(ordered.c.id).where(parts.is_wanted(ordered.c.id)), ordered.c.id)
    return parts.users(found.subquery("found"))
