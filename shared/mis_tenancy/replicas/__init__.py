"""Reading from replicas without reading what is older than the tenant's last write."""
