"""A route that calls its endpoint directly, where neither endpoint nor request gives FastAPI anything to do.

The declaration stays what FastAPI reads: it describes the route, and FastAPI judges every request that the
direct way does not fully understand, in its own order and words. A test holds both ways to the same answers.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from mis_http.routes.direct_calls import Render, direct_call

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class DirectRoute(APIRoute):
    """Answers directly where it can, else as FastAPI's own route does."""

    def get_route_handler(self) -> Handler:
        """Put the direct way before FastAPI's."""
        usual = super().get_route_handler()
        # FastAPI asks again where an application includes the route's router: it may demand more there.
        if hasattr(self, "app"):
            return usual
        render = _renderer(self)
        call = None if render is None or self.body_field is not None else direct_call(self.dependant)

        async def handle(request: Request) -> Response:
            if request.app.dependency_overrides:
                return await self._overridden(request)
            # Whoever watches FastAPI's own steps is to see them.
            found = None if call is None or "fastapi.telemetry" in request.scope else call.read(request)
            if found is None or call is None or render is None:
                return await usual(request)
            return await call.answer(found, render)

        return handle

    async def _overridden(self, request: Request) -> Response:
        self.dependency_overrides_provider = request.app
        return await super().get_route_handler()(request)


def _renderer(route: APIRoute) -> Render | None:
    """Return what makes an answer of what the endpoint returns, None where only FastAPI knows."""
    field = route.response_field
    is_usual = (
        isinstance(route.response_class, DefaultPlaceholder) and route.response_class.value is JSONResponse
    )
    if field is None or not is_usual:
        return None

    def render(content: Any, given: Response | None) -> Response:
        if isinstance(content, Response):
            return content
        value, errors = field.validate(content, {}, loc=("response",))
        if errors:
            raise ResponseValidationError(errors=errors, body=content)
        body = field.serialize_json(
            value,
            include=route.response_model_include,
            exclude=route.response_model_exclude,
            by_alias=route.response_model_by_alias,
            exclude_unset=route.response_model_exclude_unset,
            exclude_defaults=route.response_model_exclude_defaults,
            exclude_none=route.response_model_exclude_none,
        )
        status = (given and given.status_code) or route.status_code or 200
        answer = Response(body, status, media_type="application/json")
        if given is not None:
            answer.headers.raw.extend(given.headers.raw)
        return answer

    return render
