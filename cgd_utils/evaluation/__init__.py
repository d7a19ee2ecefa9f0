"""Answers, scores and results; two methods compared; lm-eval's tasks."""
