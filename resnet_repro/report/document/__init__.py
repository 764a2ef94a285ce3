"""The report: its sections, in Markdown and HTML."""
