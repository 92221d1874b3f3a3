"""The local stack: an embedded cloud, the real template deployed to it, simulated providers, fictional people."""
