"""A job file run through the phases of a pod as processes of this machine, without a cluster."""
