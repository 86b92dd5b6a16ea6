"""Backups of a deployment and of single tenants: made whole, proven, and put back whole."""
