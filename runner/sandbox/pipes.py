"""Pipes read in an event loop, each closed exactly once.

Not by `connect_read_pipe`: with uvloop the file object and the loop close the same descriptor one after the other, and
what another thread opens between the two, a database's file perhaps, is closed under it.
"""

import asyncio
import os

_BLOCK = 1 << 16


class Pipe(asyncio.ReadTransport):
    """Owns the descriptor of a pipe's end for reading, and feeds `reader` until its end or `close`."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        os.set_blocking(descriptor, False)
        self.reader = asyncio.StreamReader()
        self._descriptor, self._loop = descriptor, asyncio.get_running_loop()
        self.reader.set_transport(self)
        self.resume_reading()

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._descriptor < 0

    def pause_reading(self) -> None:
        """Called by the reader, which holds enough for now."""
        if not self.is_closing():
            self._loop.remove_reader(self._descriptor)

    def resume_reading(self) -> None:
        """Called by the reader, which has room again."""
        if not self.is_closing():
            self._loop.add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """Let go of it; to the reader this is its end."""
        if self.is_closing():
            return
        self.pause_reading()
        os.close(self._descriptor)
        self._descriptor = -1
        self.reader.feed_eof()

    def _read(self) -> None:
        try:
            block = os.read(self._descriptor, _BLOCK)
        except BlockingIOError:
            return
        except OSError as error:
            self.reader.set_exception(error)
            block = b""
        if block:
            self.reader.feed_data(block)
        else:
            self.close()
