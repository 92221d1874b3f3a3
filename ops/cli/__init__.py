"""The ``api-particulier`` command: one module for each subject."""
