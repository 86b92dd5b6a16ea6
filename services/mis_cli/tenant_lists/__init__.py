"""Tenants as lists: out page by page, in from a file that may be stopped and run again."""
