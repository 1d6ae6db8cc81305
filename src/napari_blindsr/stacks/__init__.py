"""Many planes and files: which, in what order, on which executor, and where the pixels go."""
