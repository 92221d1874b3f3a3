"""Run the local stack: embedded cloud, real template, simulated providers."""
