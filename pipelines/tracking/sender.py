"""Sends the records of a piece of work from a thread of its own: what the store does costs the work no time.

Where the store does not answer, records stay in the outbox, one warning names the remedy, and the thread goes on
trying. At the end it is waited for, as long as something arrives and PATIENCE_S after that.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from dataprep.errors import DataError
from pipelines.tracking.delivery import Delivery
from pipelines.tracking.outbox import Outbox, Record
from pipelines.tracking.stores import first_line, import_store, send_errors

WARN_AFTER_S = 15.0  # so long a record may wait before somebody is told
PATIENCE_S = 10.0  # at the end, without anything arriving
INTERRUPTED_PATIENCE_S = 3.0
MOST_PATIENCE_S = 60.0
GATHER_S = 0.5  # so long records are gathered into one request
LONGEST_PAUSE_S = 8.0  # between two tries
LAST_TRIES = 2  # at the end; one on a locked SQLite store takes its whole wait for locks
_log = logging.getLogger("irodori.tracking")


class Sender:
    """A thread that sends what `record` was given, until `close`."""

    def __init__(
        self, outbox: Outbox, store: str, *, said: str, remedy: str, arrived_late: Callable[[Outbox], None]
    ) -> None:
        """said: the store as a person may read it. remedy: the command that sends later. arrived_late: called by the
        thread where everything arrived after `close` had given up."""
        import_store(store)
        self._outbox, self._said, self._remedy, self._arrived_late = outbox, said, remedy, arrived_late
        self._delivery = Delivery(outbox, store)
        self._news = threading.Condition()
        self._waiting_since: float | None = None
        self._arrived = time.monotonic()
        self._warned = self._closing = self._abandoned = False
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def record(self, record: Record) -> None:
        """Keep a record and have it sent; returns at once."""
        self._outbox.record(record)
        with self._news:
            if self._waiting_since is None:
                self._waiting_since = time.monotonic()
            waits_s = time.monotonic() - self._waiting_since
            self._news.notify_all()
        if waits_s > WARN_AFTER_S:
            self._warn("it does not answer")

    def close(self, patience_s: float) -> bool:
        """No more records come; True where all have arrived before `patience_s` passed without anything arriving."""
        started = self._arrived = time.monotonic()
        with self._news:
            self._closing = True
            self._news.notify_all()
            while self._thread.is_alive():
                left_s = min(self._arrived + patience_s, started + MOST_PATIENCE_S) - time.monotonic()
                if left_s <= 0:
                    break
                self._news.wait(min(left_s, 0.2))
            self._abandoned = True  # the thread lets the outbox go when its call returns
        if self._outbox.unsent():
            self._warn(self._trouble or "it does not answer")
            return False
        self._thread.join(1.0)
        return True

    def _work(self) -> None:
        try:
            self._send_until_closed()
            if self._abandoned and not self._outbox.unsent():
                with suppress(DataError):  # the result is whole without it
                    self._arrived_late(self._outbox)
        finally:
            self._outbox.close()

    def _send_until_closed(self) -> None:
        pause_s, failed_at_end = GATHER_S, 0
        while not self._abandoned and failed_at_end < LAST_TRIES:
            with self._news:
                if not self._closing:
                    self._news.wait(pause_s)
                is_last = self._closing
            try:
                self._delivery.send()
            except send_errors() as error:
                self._trouble = first_line(error)
                self._warn(self._trouble)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                failed_at_end += is_last
                if is_last and failed_at_end < LAST_TRIES:
                    time.sleep(GATHER_S)
                continue
            pause_s = GATHER_S
            with self._news:
                left = len(self._outbox.unsent())
                self._waiting_since = time.monotonic() if left else None
                self._arrived = time.monotonic()
                if is_last and not left:
                    self._news.notify_all()
                    return

    def _warn(self, why: str) -> None:
        with self._news:
            if self._warned:
                return
            self._warned = True
        _log.warning(
            "the MLflow store %s takes no records (%s). Work goes on; they are kept in %s, and sent when it answers, "
            "or by: %s",
            self._said,
            self._outbox.trouble or why,
            self._outbox.path.parent,
            self._remedy,
        )
