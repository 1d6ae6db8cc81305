"""Arrays of any axes: planes, regions and tiles; and their files."""
