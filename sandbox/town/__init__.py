"""Simulate a town that calls the API: its services, prices and portal."""
