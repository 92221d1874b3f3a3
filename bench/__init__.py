"""What a call costs: the deployed handlers, as Lambda runs them, against answers that are ready."""
