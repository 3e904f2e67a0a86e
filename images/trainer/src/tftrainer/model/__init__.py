"""The model that a job promises: whether it is there, and loads."""
