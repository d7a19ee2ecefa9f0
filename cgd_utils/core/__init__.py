"""Settings and profile files; the store of artifacts and its keys; files, errors, provenance, statistics, progress."""
