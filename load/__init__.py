"""Load: a day of towns in a minute or two, against the local stack or any other deployment."""
