"""EBConv's page: all expert counts side by side."""
