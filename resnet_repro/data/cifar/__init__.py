"""Small images that fit into memory as one array: CIFAR-10, its formats, its augmentation."""
