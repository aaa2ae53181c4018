"""Files of rows: packed, encoded, delimited, as JSON, as spreadsheets; each gives a table."""
