"""Ships as llmcore.static."""
