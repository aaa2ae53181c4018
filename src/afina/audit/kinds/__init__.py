"""Hold the audits, one file each, found by walking this folder."""
