"""Hold what audits find in one form: a finding, its table, its page and the gate of a pipeline."""
