"""The `trainer` container: runs the user's script as its own process and says how it ended."""
