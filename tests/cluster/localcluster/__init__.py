"""A real single-node Kubernetes for tests, built from Go modules and run as plain processes of this machine."""
