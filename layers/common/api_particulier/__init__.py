"""What every function of API Particulier shares: the request's story and all it needs (see ``dataset``)."""
