"""Every stage with the full-size network on a few images: what would the real run take?"""
