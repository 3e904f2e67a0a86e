"""Object storage behind a small port: the only package that meets credentials."""
