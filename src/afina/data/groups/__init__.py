"""Find groups of rows, by a column or by words of lists that a person can edit."""
