"""A tenant's configuration: default < plan < tenant, typed, versioned, and encrypted where asked."""
