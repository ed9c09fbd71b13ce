"""Package registries, read through the user's own npm and pip configuration."""
