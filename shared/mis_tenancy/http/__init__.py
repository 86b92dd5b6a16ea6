"""What a request and its answer say by HTTP, before and after any tenant is known."""
