"""Confirming a new address, upon which the account is known by it."""
