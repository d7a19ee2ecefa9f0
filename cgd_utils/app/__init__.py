"""The command line, the checks before long work, the chain of notebooks, the report."""
