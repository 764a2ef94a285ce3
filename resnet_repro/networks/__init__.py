"""The paper's networks: blocks, the two families, their initialisation and their cost."""
