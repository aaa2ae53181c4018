"""What is to be learned; one file a task."""
