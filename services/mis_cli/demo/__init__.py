"""Demo tenants, one per plan, brought in through the public API as a customer's own data would be."""

from mis_cli.demo.seed import SeedError, Target, fill, seed_demo

__all__ = ["SeedError", "Target", "fill", "seed_demo"]
