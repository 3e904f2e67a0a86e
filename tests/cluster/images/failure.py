"""What the user of the image tool is told when something cannot be done."""


class ImageError(Exception):
    """One sentence for the user: the thing, its value, what was expected, and the remedy."""
