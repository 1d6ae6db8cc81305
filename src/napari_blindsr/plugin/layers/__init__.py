"""From layers to arrays, and back."""
