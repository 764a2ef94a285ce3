"""State and cost: what there is, how far it is, how long the rest takes. Never imports torch."""
