"""What generates text: one protocol and its engines over one resume log."""
