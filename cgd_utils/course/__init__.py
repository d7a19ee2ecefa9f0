"""The course lab and its self-checking exercises."""
