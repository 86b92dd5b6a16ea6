"""What tenants hold and how they are, shown once by the worker and not by every replica of a service."""
