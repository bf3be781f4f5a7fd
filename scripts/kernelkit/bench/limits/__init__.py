"""What a device can do at most, and what a call must do at least."""
