/** Newline-delimited JSON (https://github.com/ndjson/ndjson-spec), without I/O. */

import { LineDecoder } from "./lines.ts";

/**
 * Turns bytes, cut anywhere, into lines; JSON is left to the caller.
 *
 * Blank lines are signs of life and give nothing. A last line without its LF was cut, even where what came of it happens to be
 * JSON (`12` of `123`): it is never given.
 */
export class NDJSONDecoder {
  readonly #lines: LineDecoder;

  constructor(options: { maxEventBytes: number }) {
    this.#lines = new LineDecoder({ maxBytes: options.maxEventBytes, crEndsLine: false });
  }

  /**
   * Calls `onLine` with each line that `data` completes.
   *
   * @throws TooLarge A line passed the limit; all lines before it have been given.
   */
  receive(data: Uint8Array, onLine: (line: string) => void): void {
    this.#lines.receive(data, (line) => {
      if (line.trim() !== "") onLine(line);
    });
  }
}
