"""Bringing many users in at once from a file."""
