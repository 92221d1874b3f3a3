"""What the datasets are compared with."""
