"""eventmw."""
