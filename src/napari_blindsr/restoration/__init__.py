"""One image, from array to result: checks, problem, tiles, uncertainty, diagnostics."""
