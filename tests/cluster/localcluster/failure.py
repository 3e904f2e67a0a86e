"""What the user of the local cluster is told when something cannot be done."""


class ClusterError(Exception):
    """One sentence for the user: the thing, its value, what was expected, and the remedy."""
