"""Ways of adapting a backbone; one file a method."""
