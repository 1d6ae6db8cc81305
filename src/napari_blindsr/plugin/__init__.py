"""What napari loads: the dock, its worker, and the way from layers to the library and back."""
