"""Mails that tell people what has changed about how they sign in."""
