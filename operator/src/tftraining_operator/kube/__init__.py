"""The API server's verbs over raw objects."""
