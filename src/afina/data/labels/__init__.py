"""Labels of rows: classes, numbers, answers to choose from, tags of words."""
