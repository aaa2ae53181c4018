"""Make vectors of texts for `features`, one file a way."""
