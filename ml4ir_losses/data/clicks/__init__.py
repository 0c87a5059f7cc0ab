"""Click models and simulated click logs."""
