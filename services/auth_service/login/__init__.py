"""Signing in with an e-mail address and a password, at a tenant that any source may name."""
