"""Photographs of any size: ImageNet, Imagenette, folders; decoded, cropped, served in batches."""
