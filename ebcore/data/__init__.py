"""From folders of images to batches: sources, checks, conversion, loaders."""
