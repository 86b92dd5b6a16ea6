"""An archive brought back into a tenant: verified before anything happens, applied in one transaction."""
