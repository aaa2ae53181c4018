"""Look for what an adapter does to one group of people and not to another."""
