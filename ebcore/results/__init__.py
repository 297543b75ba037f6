"""Runs worth keeping: results/RUN/ in the repository, and docs/results.md made of them."""
