"""CGD kit: Critique-Guided Distillation (arXiv 2505.11628), from problems to the paper's tables."""

__version__ = "0.1.0"
