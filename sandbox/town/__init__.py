"""A fictional town, a caller of the API: its services, its prices and its portal."""
