"""What training changes inside; critiques; failures; cost and Pass@k."""
