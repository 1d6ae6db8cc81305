"""The numerical engine: tensors in, tensors out.

It knows torch and nothing else: no files, no printing, no napari, no Qt.
"""
