"""Everything that a person reads and that exists in more than one language."""
