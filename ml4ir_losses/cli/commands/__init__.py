"""The commands, one module each: `register_command` gives a function its name on the command line.

Keras and its backend are imported inside the commands that need them, so that help texts do not wait for it.
"""
