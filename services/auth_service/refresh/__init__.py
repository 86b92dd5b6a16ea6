"""Exchanging a refresh token for a fresh pair, once."""
