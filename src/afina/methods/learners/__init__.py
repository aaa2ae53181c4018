"""Classical models that `features` fits, one file each."""
