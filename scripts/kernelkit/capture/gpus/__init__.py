"""The GPUs of this host: which there are, which are idle, and reservations across users."""
