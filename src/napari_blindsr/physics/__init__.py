"""The forward model: kernels, noise, centring, simulation."""
