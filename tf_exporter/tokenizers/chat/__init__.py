"""Chat templates: texts that are rendered as messages before they are tokenized."""
