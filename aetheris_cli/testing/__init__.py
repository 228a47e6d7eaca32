"""What authors test their agents with."""
