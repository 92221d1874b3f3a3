"""Measure the cost of a call to the handlers, as they are deployed."""
