"""Seals over a tenant's audit log: made by the worker, verified on request, cut short by retention."""
