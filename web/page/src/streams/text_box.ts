/**
 * A growing text in a box, drawn at most once a frame.
 *
 * The text lies in blocks that end at a line's end, so that what is appended makes the browser lay out one block again and
 * not all of it.
 */

import type { Transcript } from "./transcript.ts";

/** A block is closed at the first line's end behind so many characters, */
const BLOCK_CHARACTERS = 2000;

/** and, where no line ends, behind so many. */
const LONGEST_BLOCK_CHARACTERS = 50_000;

/** A block is rather this much shorter than to end inside a word. */
const LONGEST_WORD = 100;

/** How near to its end a box counts as being there, in pixels. */
const NEAR_PX = 24;

/** Calls back before the next frame; returns what takes that back. */
export type Schedule = (draw: () => void) => () => void;

interface Block {
  readonly element: HTMLElement;
  readonly text: Text;
  /** Characters of the transcript in it, with the line's end that closed it. */
  characters: number;
}

export class TextBox {
  readonly #box: HTMLElement;
  readonly #transcript: Transcript;
  readonly #schedule: Schedule;
  readonly #unlisten: () => void;
  #blocks: Block[] = [];
  #pending: string[] = [];
  #pendingCharacters = 0;
  #toDrop = 0;
  #unschedule: (() => void) | null = null;

  /** Shows a transcript from now on, and follows its end as long as the reader does not scroll up. */
  constructor(box: HTMLElement, transcript: Transcript, schedule: Schedule) {
    this.#box = box;
    this.#transcript = transcript;
    this.#schedule = schedule;
    this.#unlisten = transcript.listen({
      onAdded: (text) => this.#added(text),
      onDropped: (characters) => this.#dropped(characters),
    });
    this.#reset();
  }

  /** Shows nothing more. */
  close(): void {
    this.#unlisten();
    this.#unschedule?.();
  }

  #added(text: string): void {
    this.#pending.push(text);
    this.#pendingCharacters += text.length;
    if (this.#pendingCharacters > this.#transcript.length) {
      // A hidden tab draws nothing for long; the transcript is what is left of it all.
      this.#pending = [];
    }
    this.#unschedule ??= this.#schedule(() => this.#draw());
  }

  #dropped(characters: number): void {
    this.#toDrop += characters;
  }

  #draw(): void {
    this.#unschedule = null;
    const isAtEnd = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < NEAR_PX;
    if (this.#pendingCharacters > this.#transcript.length) {
      this.#reset();
      return;
    }
    const text = this.#pending.join("");
    this.#pending = [];
    this.#pendingCharacters = 0;
    this.#append(text);
    this.#drop();
    if (isAtEnd) {
      this.#box.scrollTop = this.#box.scrollHeight;
    }
  }

  #reset(): void {
    this.#box.replaceChildren();
    this.#blocks = [];
    this.#pending = [];
    this.#pendingCharacters = 0;
    this.#toDrop = 0;
    this.#append(this.#transcript.text);
    this.#box.scrollTop = this.#box.scrollHeight;
  }

  #append(text: string): void {
    let at = 0;
    while (at < text.length) {
      const block = this.#blocks.at(-1) ?? this.#open();
      const least = at + Math.max(0, BLOCK_CHARACTERS - block.characters);
      const most = at + Math.max(1, LONGEST_BLOCK_CHARACTERS - block.characters);
      const line = text.indexOf("\n", least);
      const end = Math.min(line < 0 ? text.length : line, wordEnd(text, at, most), text.length);
      block.text.appendData(text.slice(at, end));
      // The end of a block shows as the end of a line, so the line feed itself is left out.
      const next = end === line ? end + 1 : end;
      block.characters += next - at;
      at = next;
      if (end === line || block.characters >= LONGEST_BLOCK_CHARACTERS - LONGEST_WORD) {
        this.#open();
      }
    }
  }

  #open(): Block {
    const element = this.#box.ownerDocument.createElement("div");
    const text = this.#box.ownerDocument.createTextNode("");
    element.append(text);
    this.#box.append(element);
    const block = { element, text, characters: 0 };
    this.#blocks.push(block);
    return block;
  }

  /** Takes whole blocks away at the start; the rest of a block goes with the next ones. */
  #drop(): void {
    let count = 0;
    let block = this.#blocks[0];
    while (block !== undefined && block.characters <= this.#toDrop && count < this.#blocks.length - 1) {
      this.#toDrop -= block.characters;
      block.element.remove();
      count += 1;
      block = this.#blocks[count];
    }
    this.#blocks = this.#blocks.slice(count);
  }
}

/** Returns the end of the last word that ends before `most`, or `most` where no word ends near it. */
function wordEnd(text: string, from: number, most: number): number {
  const space = text.lastIndexOf(" ", most - 1);
  return most >= text.length || space < Math.max(from, most - LONGEST_WORD) ? most : space + 1;
}
