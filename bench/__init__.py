"""What a call costs: the deployed handlers, in a process each, against answers that are ready."""
