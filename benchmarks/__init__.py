"""The harness behind `make bench`: the hot path through both doors, beside the same route without tenancy."""
