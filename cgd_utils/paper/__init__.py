"""The published tables, their audit, the paper's claims and the verdicts."""
