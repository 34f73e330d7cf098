import type { StreamStatus } from "@headrace/client";

/** Say in plain words how a stream is doing. */
export function words(status: StreamStatus): string {
  switch (status.state) {
    case "waiting":
      return "Waiting for the first token…";
    case "streaming":
      return "Answering…";
    case "reconnecting":
      return `Connection lost (${status.reason}), resuming…`;
    case "completed":
      return status.finishReason === "length" ? "Stopped at the token limit" : "Complete";
    case "cancelled":
      return status.cause === "client_stop" ? "Stopped by you" : `Stopped: ${status.cause}`;
    case "truncated":
      return `Cut off: ${status.message ?? status.cause}`;
    case "failed":
      return `No answer: ${status.message ?? status.cause}`;
  }
}
