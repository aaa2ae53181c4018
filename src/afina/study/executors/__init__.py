"""Where a study's jobs are carried out: one file each."""
