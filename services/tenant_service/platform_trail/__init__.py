"""Carries what operators do in a tenant's own transaction over to the platform's log."""
