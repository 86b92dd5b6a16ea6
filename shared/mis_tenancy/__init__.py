"""Tenancy for ASGI services: resolve, validate, limit and audit each request, then scope its SQL to one tenant."""
