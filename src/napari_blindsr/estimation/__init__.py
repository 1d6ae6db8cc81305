"""Estimate the blur of an image: network, spectrum, refinement, a kernel for each region."""
