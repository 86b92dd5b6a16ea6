"""Erasing a person: all that is personal goes, the audit log keeps a pseudonym."""
