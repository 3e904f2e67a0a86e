"""The loop around the core: what was seen, what is to be looked at, and the writing of what was decided."""
