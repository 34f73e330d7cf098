// Drives the client in a bare page, and notes all that its caller is told. Loaded as a file, for the page's policy
// allows no script of another kind.

import { LLMStreamClient } from "/dist/index.js";

/** What a generation told its caller. */
class Observed {
  updates = 0;
  offsets = 0;
  /** Where an entry is missing, comes twice, or comes out of order: pairs of offsets. */
  seams = [];
  lastOffset;
  text = "";
  states = [];
  result = null;
  error = null;
  metrics = null;
  /** How often each of the two last callbacks was called. */
  ends = { complete: 0, error: 0 };

  constructor(after) {
    this.lastOffset = after;
  }

  update({ text, firstOffset, lastOffset, chunks }) {
    if (firstOffset !== this.lastOffset + 1 || lastOffset - firstOffset + 1 !== chunks.length)
      this.seams.push([this.lastOffset, firstOffset, lastOffset, chunks.length]);
    this.lastOffset = lastOffset;
    this.offsets += chunks.length;
    this.updates += 1;
    this.text += text;
  }
}

const plainError = ({ name, message, kind, status, retryAfterMs }) => ({ name, message, kind, status, retryAfterMs });

window.drive = {
  clients: new Map(),
  generations: new Map(),
  observed: new Map(),

  /** Make a client that later calls name. */
  open(name, options) {
    this.clients.set(name, new LLMStreamClient(options));
  },

  generate(name, { client, endpoint, payload, options = {} }) {
    const observed = this.watch(name, -1);
    const made = this.clients.get(client).generate(endpoint, payload, { ...options, ...this.callbacks(observed) });
    this.generations.set(name, made);
    observed.states.unshift(made.status); // changes are told, not how it begins
  },

  attach(name, { client, streamId, options = {} }) {
    const observed = this.watch(name, options.after ?? -1);
    this.generations.set(name, this.clients.get(client).attach(streamId, { ...options, ...this.callbacks(observed) }));
  },

  watch(name, after) {
    const observed = new Observed(after);
    this.observed.set(name, observed);
    return observed;
  },

  callbacks(observed) {
    return {
      onChunk: (update) => observed.update(update),
      onState: (status) => observed.states.push(status),
      onComplete: (result) => {
        observed.ends.complete += 1;
        observed.result = result;
      },
      onError: (error, result) => {
        observed.ends.error += 1;
        observed.error = plainError(error);
        observed.result = result;
      },
      onMetrics: (metrics) => {
        observed.metrics = metrics;
      },
    };
  },

  /** The first characters of a long text say enough. */
  seen(name, chars = 100_000) {
    const { text, result, ...rest } = this.observed.get(name);
    return {
      ...rest,
      text: text.slice(0, chars),
      length: text.length,
      result: result && { ...result, text: result.text.slice(0, chars) },
    };
  },

  isOver(name) {
    const { ends } = this.observed.get(name);
    return ends.complete + ends.error > 0;
  },

  async sha256(name) {
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(this.observed.get(name).text));
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  },
};
