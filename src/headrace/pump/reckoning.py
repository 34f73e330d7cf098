"""The reckoning of one stream: what it costs, from its end until its last client has left and its vendor was heard."""

from __future__ import annotations

from headrace.pump.charge import Charge
from headrace.pump.tally import Tally
from headrace.stream.log import StreamLog
from headrace.stream.store import Settlement
from headrace.types.bill import Bill
from headrace.types.engine import Generation
from headrace.types.ids import RequestId
from headrace.types.outcome import Cause, State


class Reckoning:
    """The bill of one request, and what may still change it.

    Args:
        request_id: Whose bill.
        log: Its stream.
        tally: What the engine has sent.
        charge: What it pays with.
    """

    __slots__ = ("_charge", "_log", "_request_id", "_saved_delivered", "_tally", "_was_accepted", "bill", "vendor")

    def __init__(self, request_id: RequestId, log: StreamLog, tally: Tally, charge: Charge) -> None:
        self.bill: Bill | None = None
        """None until the stream has ended."""
        self.vendor: Generation | None = None
        """Once it has ended: what still runs only to be asked for its usage."""
        self._request_id = request_id
        self._log = log
        self._tally = tally
        self._charge = charge
        self._saved_delivered = 0
        self._was_accepted = False

    @property
    def generated_tokens(self) -> int:
        """What the engine had sent, whatever became of it."""
        return self._tally.generated_tokens

    @property
    def delivered_tokens(self) -> int:
        """What clients were given; who still follows a stream that has ended will be given all of it.

        So a crash before the last client has left finds what that client may well have seen in the record.
        """
        log = self._log
        return log.tokens if log.end is not None and log.followers else log.delivered_tokens

    def let_go(self, generation: Generation, state: State, cause: Cause) -> None:
        """Abort the generation of a stream that ends so, or keep it for its vendor's word.

        What the kernel holds was generated, and is paid for. What a budget has stopped must not go on unheard.
        """
        if generation.end is None:
            unread = generation.read()
            if unread is not None:
                self._tally.count_unlogged(unread)
        if generation.end is None:
            if generation.is_accepted and cause is not Cause.BUDGET and self._charge.asks_vendor(state):
                generation.watch(None)
                self.vendor = generation
            else:
                generation.abort()

    def end(self, now_s: float, *, was_accepted: bool) -> None:
        """Make out the bill: the log is sealed.

        Args:
            now_s: Monotonic seconds.
            was_accepted: Whether the engine that was asked last had taken the request.
        """
        self._was_accepted = was_accepted
        self._saved_delivered = self.delivered_tokens
        self.bill = self._billed()
        self._charge.settle(self.bill, now_s)

    def settlement(self, now_s: float) -> Settlement | None:
        """Return the last word on the bill, once nobody follows the stream any more; None when nothing is new."""
        if self.bill is None:
            return None
        bill, delivered_tokens = self._billed(), self.delivered_tokens
        if bill == self.bill and delivered_tokens == self._saved_delivered:
            return None
        self.bill = bill
        self._saved_delivered = delivered_tokens
        self._charge.settle(bill, now_s)
        return Settlement(
            request_id=self._request_id,
            delivered_tokens=delivered_tokens,
            generated_tokens=self.generated_tokens,
            bill=bill,
        )

    def hear_vendor(self) -> bool:
        """Read on, unheard, what an ended stream's engine still sends. Returns whether it has said all that matters."""
        vendor = self.vendor
        if vendor is None:
            return True
        chunks = vendor.read()
        if chunks is not None:
            self._tally.count_unlogged(chunks)
        if vendor.end is None:
            return False
        self.vendor = None
        return True

    def leave_vendor(self) -> None:
        """Wait no longer for its usage."""
        vendor, self.vendor = self.vendor, None
        if vendor is not None:
            vendor.abort()

    def _billed(self) -> Bill:
        counts = self._tally.counts(delivered_tokens=self.delivered_tokens)
        return self._charge.bill(self._log.state, counts, was_accepted=self._was_accepted)
