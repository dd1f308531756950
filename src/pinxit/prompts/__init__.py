"""The text layer: prompt grammar, tokenizer and chunks. No torch; nothing is read or built at import."""
