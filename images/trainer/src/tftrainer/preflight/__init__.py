"""What can be known about the user's code without running it. Nothing here imports or executes any of it."""
