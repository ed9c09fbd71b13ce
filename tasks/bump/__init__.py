"""Moving the pins of the Dockerfile: which ones there are, what may replace them, and the edit."""
