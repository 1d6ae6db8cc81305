"""Many planes and many files: which, in what order, by whom, and where the pixels go."""
