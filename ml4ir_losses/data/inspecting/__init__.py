"""What data files hold, and the draft of a config."""
