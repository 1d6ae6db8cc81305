"""Samples and data sets with a known truth, and scores on them."""
