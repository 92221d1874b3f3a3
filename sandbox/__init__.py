"""Run the local stack: an embedded cloud, the real template, simulated providers and fictional people."""
