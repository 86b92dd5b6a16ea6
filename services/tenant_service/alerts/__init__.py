"""Alerts of a tenant: opened once for each cause, seen by its people, ended when the cause has."""
