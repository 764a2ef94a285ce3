"""The paper's figures from stored results."""
