"""Blind methods, which optimise kernel and image of one observation."""
