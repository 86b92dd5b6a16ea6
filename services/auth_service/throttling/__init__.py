"""Holding guessers back without holding anybody out."""
