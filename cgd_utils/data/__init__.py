"""Problems, benchmarks, and the overlap between them."""
