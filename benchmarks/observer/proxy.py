"""A TCP relay whose connections can be cut: SIGUSR1 resets every open one; used by churn.py.

python benchmarks/observer/proxy.py HOST PORT        prints its own port on loopback
"""

from __future__ import annotations

import asyncio
import signal
import sys

CHUNK_BYTES = 1 << 16
writers: set[asyncio.StreamWriter] = set()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until either end closes."""
    try:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # cut, which is what this relay is for
    finally:
        writers.discard(writer)
        writer.close()


async def serve(host: str, port: int) -> None:
    """Relay until killed."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, port)
        writers.update((writer, upstream_writer))
        await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer))

    def cut() -> None:
        for writer in list(writers):
            writer.transport.abort()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, cut)
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
