"""Send a day of calls in a minute or two, to the local stack or another deployment."""
