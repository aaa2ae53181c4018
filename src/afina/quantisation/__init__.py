"""Make a quantised checkpoint of a plain model, layer by layer from its files."""
