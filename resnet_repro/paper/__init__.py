"""What the paper says: its printed numbers and its claims, as data with their places."""
