"""Finding and loading models: chat templates, adapters, quantisation, memory."""
