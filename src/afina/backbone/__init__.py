"""The frozen network: loading it, its anatomy, its sites, and what is attached to them."""
