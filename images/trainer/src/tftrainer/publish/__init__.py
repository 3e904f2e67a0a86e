"""The `publisher` container: waits for the trainer's end, then brings what the script wrote into the bucket."""
