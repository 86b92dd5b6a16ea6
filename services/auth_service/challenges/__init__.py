"""Proofs under way: what somebody was asked for and has not answered yet."""
