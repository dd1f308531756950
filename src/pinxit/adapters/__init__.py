"""Small files that change what a model paints: LoRA and its relatives."""
