"""Estimate the blur of an image: network, spectrum, a kernel for each region."""
