"""The rules by which a job is judged, by whose will they are. Their order is that of `decide.RULES`."""
