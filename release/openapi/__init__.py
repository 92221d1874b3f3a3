"""The public contract, ``docs/openapi.yaml``: generated, and compared with the last release."""
