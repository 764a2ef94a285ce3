"""Photographs of any size (ImageNet, Imagenette, folders): preparing, decoding, cropping."""
