"""Send a day of calls in a minute or two, to a local or another deployment."""
