"""Tables, figures, claims and the report: pure functions of stored results and the paper's facts.

Nothing here trains or measures, and nothing here imports torch.
"""
