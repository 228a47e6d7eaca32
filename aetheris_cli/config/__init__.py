"""What the user has written down: agents.yaml and the environment, read when called."""
