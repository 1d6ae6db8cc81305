"""What blur an image has: network, spectrum, refinement, posterior, a kernel for each region."""
