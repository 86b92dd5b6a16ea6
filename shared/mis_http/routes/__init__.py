"""How a request reaches its endpoint: directly where FastAPI has nothing to decide."""
