"""The formats that models are exported to, one module each."""
