"""Spreads the one database over a Citus cluster, and a tenant's rows to a node of its own."""
