"""Look for what a trained adapter gives away or gets wrong."""
