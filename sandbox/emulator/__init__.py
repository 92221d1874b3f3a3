"""What runs in the environment of the embedded cloud."""
