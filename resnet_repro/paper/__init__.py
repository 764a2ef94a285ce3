"""What the paper says: its printed numbers, and its claims with the rules that judge them."""
