"""Measure what a call costs: the deployed handlers, as Lambda runs them, with upstreams that respond at once."""
