"""What a request names as its tenant, told back to whoever sent it."""
