"""Keep vectors where they can be searched, one file a store."""
