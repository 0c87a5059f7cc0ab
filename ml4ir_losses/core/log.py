"""The logger of the package; the command line and run folders decide where its lines go."""

import logging

LOGGER = logging.getLogger("ml4ir_losses")
