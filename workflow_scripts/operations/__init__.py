"""What is done around a study: how far it is, and whether a cluster can run it."""
