"""The operations that people and programs ask for, each the same for every surface."""
