"""Ships as llmcore.intents."""
