"""Simulate a fictional town that calls the API: its services, its prices and its portal."""
