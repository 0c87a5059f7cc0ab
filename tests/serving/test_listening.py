"""The socket of a server."""

import socket

import pytest

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.serving.run_server import listen


def test_connections_send_a_short_answer_without_waiting():
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_port_in_use_is_one_line():
    with listen("127.0.0.1", 0) as listening, pytest.raises(UserError, match=r"--port: \d+ is in use on 127.0.0.1"):
        listen("127.0.0.1", listening.getsockname()[1])
