"""What a script has written, and how it becomes objects: the files below a folder, and their upload."""
