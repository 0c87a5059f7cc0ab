"""The losses of other libraries under their names, with their parameters and defaults, made of ours."""
