"""Drafts, critiques, refined and direct answers: the distillation records."""
