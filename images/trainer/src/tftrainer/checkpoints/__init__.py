"""The folder of `spec.checkpoints`: what of it is one whole state, saved while the script runs, found again by the next attempt."""
