"""A route with two ways to the same answer: FastAPI's, and a short one for the requests that come most often.

Solving an endpoint's dependencies costs FastAPI more than all that the suite does for a plain read. So the
hottest route also has a lane, which answers the requests it fully understands and leaves every other one (any
further parameter, any mistake) to the declared endpoint. The endpoint stays the description and the judge; a
test holds both to the same answers.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request, Response

from mis_http.pages import Page
from mis_http.routes.direct_route import DirectRoute, Handler

Lane = Callable[[Request], Awaitable[Response | None]]

# What a page is asked for with when nothing is filtered; anything else is the endpoint's to read.
_PLAIN_QUERY: Final = re.compile(rb"(?:limit=([1-9][0-9]?|1[0-9]{2}|200))?")


def with_lane(lane: Lane) -> type[DirectRoute]:
    """Return the class of a route that asks `lane` first; where that returns None, its endpoint answers."""

    class LaneRoute(DirectRoute):
        """Answers by the lane where it can."""

        def get_route_handler(self) -> Handler:
            """Put the lane before the usual handler."""
            usual = super().get_route_handler()

            async def handle(request: Request) -> Response:
                answer = await lane(request)
                return await usual(request) if answer is None else answer

            return handle

    return LaneRoute


def plain_page(request: Request) -> Page | None:
    """Return the page a request without filters asks for, None where the endpoint must read the query."""
    match = _PLAIN_QUERY.fullmatch(request.scope["query_string"])
    if match is None:
        return None
    return Page() if match[1] is None else Page(int(match[1]))
