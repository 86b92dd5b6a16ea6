"""The `mis` command: it runs the whole suite on one machine and operates it anywhere."""
