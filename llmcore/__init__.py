"""llmcore: operators ask their infrastructure in plain words; a model may propose, code decides and runs."""

__version__ = "0.1.0"
