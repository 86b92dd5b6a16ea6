"""One module per group of `mis` commands."""
