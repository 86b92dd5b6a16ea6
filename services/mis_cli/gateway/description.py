"""Merges the services' OpenAPI documents into one, keeping apart what only shares a name."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any
# A component's place: its section (`schemas`, `responses`, …) and its name.
Place: TypeAlias = tuple[str, str]


def merge(documents: Mapping[str, dict[str, Json]]) -> dict[str, Json]:
    """Return one document with all paths and components; `documents` are by service name.

    A component that another service already defines otherwise gets its service's name as a prefix.
    """
    merged: dict[str, Json] = {
        "openapi": next((each["openapi"] for each in documents.values() if "openapi" in each), "3.1.0"),
        "info": {"title": "Multi-tenant suite", "version": _version(documents)},
        "paths": {},
        "components": {},
    }
    for service, document in documents.items():
        renamed = _renamed(service, merged["components"], document.get("components", {}))
        merged["paths"].update(_with_references(document.get("paths", {}), renamed))
        for section, entries in document.get("components", {}).items():
            target = merged["components"].setdefault(section, {})
            for name, component in entries.items():
                target[renamed.get((section, name), name)] = _with_references(component, renamed)
    return merged


def _version(documents: Mapping[str, dict[str, Json]]) -> str:
    return str(next((each["info"]["version"] for each in documents.values() if "info" in each), "0"))


def _renamed(service: str, present: dict[str, Json], added: dict[str, Json]) -> dict[Place, str]:
    """Return new names for the added components that clash, or that refer to one that does."""
    shared = {
        (section, name): component
        for section, entries in added.items()
        for name, component in entries.items()
        if name in present.get(section, {})
    }
    clashing = {place for place, component in shared.items() if present[place[0]][place[1]] != component}
    while True:
        drawn_in = {
            place
            for place, component in shared.items()
            if place not in clashing and clashing & _references(component)
        }
        if not drawn_in:
            return {(section, name): f"{service.capitalize()}{name}" for section, name in clashing}
        clashing |= drawn_in


def _references(part: Json) -> set[Place]:
    if isinstance(part, dict):
        own = {place} if (place := _place(part.get("$ref"))) else set()
        return own.union(*(_references(value) for value in part.values()))
    if isinstance(part, list):
        return set().union(*(_references(value) for value in part))
    return set()


def _with_references(part: Json, renamed: Mapping[Place, str]) -> Json:
    if isinstance(part, dict):
        copy = {key: _with_references(value, renamed) for key, value in part.items()}
        place = _place(part.get("$ref"))
        if place is not None and place in renamed:
            copy["$ref"] = f"#/components/{place[0]}/{renamed[place]}"
        return copy
    if isinstance(part, list):
        return [_with_references(value, renamed) for value in part]
    return part


def _place(reference: Json) -> Place | None:
    steps = reference.split("/") if isinstance(reference, str) else []
    return (steps[2], steps[3]) if steps[:2] == ["#", "components"] and len(steps) == 4 else None
