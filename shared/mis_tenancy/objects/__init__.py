"""What lies under the object storage of tenants: which store a URL opens, and how bytes go in."""
