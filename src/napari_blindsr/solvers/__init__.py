"""From kernel to image: the loop, the methods and the device; tensors in, tensors out.

It knows torch and nothing else: no files, no printing, no napari, no Qt.
"""
