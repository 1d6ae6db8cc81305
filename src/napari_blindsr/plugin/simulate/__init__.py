"""The dock that degrades a sharp image, to learn from or to plan an acquisition with."""
