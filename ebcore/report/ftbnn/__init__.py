"""FTBNN's page: the compared variants over seeds."""
