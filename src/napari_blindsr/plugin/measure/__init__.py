"""What the dock "Measure quality" consists of."""
