"""Domains of tenants' own: claimed by anybody, theirs only while DNS proves it."""
