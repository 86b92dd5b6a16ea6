"""What a description says of who may call, so that pages and generated clients know what to send.

It is read off the rules by which the middleware judges (OpenAPI 3.1 §4.8.30, security requirements), so it
cannot say anything else than what happens.
"""

from typing import Any, Final

from fastapi import FastAPI

from mis_tenancy.routes import Access, RoutePolicy

_BEARER: Final[dict[str, list[str]]] = {"bearer": []}
OPTIONAL: Final = [{}, _BEARER]
_BRACES: Final = str.maketrans("", "", "{}")
_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, as `POST /api/v1/auth/login` gives one, or an API key.",
    }
}


class Described(FastAPI):
    """An application whose description says which of its routes need a bearer, by its rules."""

    def __init__(self, rules: RoutePolicy, **options: Any) -> None:
        self._rules = rules
        super().__init__(**options)

    def openapi(self) -> dict[str, Any]:
        """Return the description, made once."""
        if self.openapi_schema is None:
            _tell(super().openapi(), self._rules)
        return super().openapi()


def _tell(document: dict[str, Any], rules: RoutePolicy) -> None:
    """Add to each operation whether it needs a bearer, unless it says so itself."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            # Rules are for paths that come in, and no such path has braces.
            like = path.translate(_BRACES)
            asked = {"type": "http", "method": method.upper(), "path": like}
            operation.setdefault("security", _wanted(rules.access(asked)))
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES


def _wanted(access: Access) -> list[dict[str, list[str]]]:
    if access is Access.REPORT:
        return OPTIONAL
    return [] if access is Access.EXEMPT or access.is_for_strangers else [_BEARER]
