"""`python -m ml4ir_losses.cli`."""

from ml4ir_losses.cli import main

if __name__ == "__main__":
    main()
