"""Endings on the wire."""

from typing import Literal

from mis_http.schemas import Moment, ResponseBody


class DeletionOut(ResponseBody):
    """A deletion that was asked for: until `purgeAt` it can be taken back."""

    status: Literal["pending_deletion"] = "pending_deletion"
    purge_at: Moment
