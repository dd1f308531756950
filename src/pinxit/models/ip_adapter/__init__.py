"""IP-Adapters: prompts that are pictures."""
