"""Training: typed recipes, data, objectives and one loop. Uses the engine only for its sample grids."""
