/** Text that grows by appending: joined when it is asked for, and then once, so that many short pieces cost linear time. */
export class Pieces {
  #pieces: string[];

  constructor(first = "") {
    this.#pieces = first === "" ? [] : [first];
  }

  push(piece: string): void {
    if (piece !== "") this.#pieces.push(piece);
  }

  toString(): string {
    if (this.#pieces.length > 1) this.#pieces = [this.#pieces.join("")];
    return this.#pieces[0] ?? "";
  }
}
