"""The worker: gathers every feature's background work and runs it beside the services."""
