"""What a trained adapter gives away or gets wrong."""
