"""Listing, finding, creating, changing and removing a tenant's users."""
