"""Solutions: from folders of source files to the dataset's JSON."""
