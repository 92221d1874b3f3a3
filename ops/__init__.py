"""What an operator runs: the ``api-particulier`` command."""
