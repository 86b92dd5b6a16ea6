"""`mis doctor`: everything that a deployment stands on, looked at, and what to do where it is not right."""
