"""Whether a machine can run the active profile, and what it lacks."""
