"""A server of a fake run in a process of its own: `python signals_job.py RUN DRAIN`; its log is on stderr."""

import sys
from pathlib import Path

from fake_service import load_fake, make_fake_app

from ml4ir_losses.serving.logs import json_logs
from ml4ir_losses.serving.process import Server
from ml4ir_losses.serving.run_server import listen
from ml4ir_losses.serving.settings import Limits, Stopping

with listen("127.0.0.1", 0) as listening, json_logs():
    stopping = Stopping(drain=float(sys.argv[2]), grace=2)
    server = Server(listening, Path(sys.argv[1]), load_fake, make_fake_app, limits=Limits(), stopping=stopping)
    server.answer_requests()
