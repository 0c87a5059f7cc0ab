"""The command `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml4ir_losses.cli.options import Columns, RunPath
from ml4ir_losses.core.registry import register_command
from ml4ir_losses.serving.settings import Batching, Limits, Stopping


@register_command("serve")
def serve(
    run: RunPath,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0: any free one, which the log names.")] = 8000,
    data: Annotated[
        str | None,
        typer.Option("--data", help="File of documents, or folder of an index, to search; else the run's own index."),
    ] = None,
    column: Columns = None,
    document_id: Annotated[str | None, typer.Option(help="Column of document ids; row numbers when left out.")] = None,
    watch: Annotated[
        float | None,
        typer.Option(min=0.1, help="Look at the run's files every so many seconds, and load what changed."),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File of the API key; else the variable ML4IR_LOSSES_API_KEY, if it is set.")
    ] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Serve other machines without an API key.")] = False,
    max_bytes: Annotated[int, typer.Option(min=1, help="Largest body of a request.")] = Limits.bytes,
    max_documents: Annotated[int, typer.Option(min=1, help="Most documents of a query.")] = Limits.documents,
    max_queries: Annotated[int, typer.Option(min=1, help="Most queries of a request.")] = Limits.queries,
    max_connections: Annotated[int, typer.Option(min=1, help="Most open connections.")] = Limits.connections,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to read a request, and to answer it.")
    ] = Limits.seconds,
    batch_documents: Annotated[int, typer.Option(min=1, help="Most documents of a call of the model.")] = Batching.size,
    batch_wait: Annotated[
        float, typer.Option(min=0, help="Milliseconds that a request waits for others.")
    ] = Batching.wait,
    max_waiting: Annotated[int, typer.Option(min=1, help="Most requests that wait for the model.")] = Batching.queue,
    drain: Annotated[
        float, typer.Option(min=0, help="Seconds from SIGTERM until no connection is accepted any more.")
    ] = Stopping.drain,
    grace: Annotated[
        int, typer.Option(min=0, help="Most seconds, after that, to answer what is being answered.")
    ] = Stopping.grace,
    keep_alive: Annotated[int, typer.Option(min=1, help="Seconds that a connection may be idle.")] = 75,
) -> None:
    """Answer requests to a run over HTTP, until SIGTERM or Ctrl-C; SIGHUP loads the run again."""
    from ml4ir_losses.serving.run_server import api_key, check_exposure
    from ml4ir_losses.serving.run_server import serve as run_server

    key = None if no_key else api_key(api_key_file)
    if not no_key:
        check_exposure(host, key)
    run_server(
        run,
        host,
        port,
        limits=Limits(
            bytes=max_bytes,
            documents=max_documents,
            queries=max_queries,
            seconds=timeout,
            connections=max_connections,
        ),
        batching=Batching(size=batch_documents, wait=batch_wait, queue=max_waiting),
        index=data,
        columns=column or (),
        identity=document_id,
        stopping=Stopping(drain, grace),
        key=key,
        watch=watch,
        keep_alive=keep_alive,
    )
