"""The data sets: what they are, where they came from, and the form that training reads."""
