"""One file a format: each gives the records of a file as a Table. They know no tasks."""
