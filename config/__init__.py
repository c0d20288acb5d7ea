"""Ships as llmcore.config."""
