"""From kernel to image: the loop, the methods and the device; tensors in, tensors out."""
