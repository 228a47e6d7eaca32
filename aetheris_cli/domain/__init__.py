"""The pure room: what the words mean and which moves are legal. It does no I/O."""
