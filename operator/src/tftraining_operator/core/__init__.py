"""The pure core: from what was observed of a job to what is to be done about it."""
