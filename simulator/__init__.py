"""A day of a store, simulated: the real router, budget and prices, with sampled latencies and finite capacity."""
