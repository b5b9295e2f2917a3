"""Small sites that `servers` starts."""
