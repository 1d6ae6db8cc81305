"""What the dock "Compare layers" consists of."""
