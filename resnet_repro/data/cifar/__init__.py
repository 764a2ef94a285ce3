"""Small images that fit into memory as one array: CIFAR-10 and CIFAR-100, their formats."""
