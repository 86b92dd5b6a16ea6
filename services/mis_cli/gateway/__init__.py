"""The services on one origin, in one process: dispatch by path, one lifespan, one description."""

from mis_cli.gateway.dispatch import Gateway, Service

__all__ = ["Gateway", "Service"]
