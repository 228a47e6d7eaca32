"""What the rooms above need of the rooms below: protocols and failpoints."""
