"""Signing in through a tenant's own OpenID provider."""
