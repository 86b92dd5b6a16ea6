"""The report of an erasure."""

from uuid import UUID

from mis_http.schemas import Moment, ResponseBody


class RemainsOut(ResponseBody):
    """Something that may still hold data of the person, and until when."""

    kind: str
    id: UUID
    until: Moment | None


class ErasureOut(ResponseBody):
    """What an erasure removed, counted by kind, and what goes by itself later."""

    user_id: UUID
    erased_at: Moment
    removed: dict[str, int]
    remains: list[RemainsOut]
