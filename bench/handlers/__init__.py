"""The handlers that the datasets are compared with."""
