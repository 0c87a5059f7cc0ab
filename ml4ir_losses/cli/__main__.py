"""`python -m ml4ir_losses.cli`."""

from ml4ir_losses.cli import main

main()
