"""Report what a study's folder says, as tables, figures and a page; opens without torch."""
