import { type ReadonlySignal, type Signal, signal } from "@preact/signals";

/** What following needs of the element that scrolls. Lengths in CSS pixels. */
export interface Scrolled {
  scrollTop: number;
  readonly scrollHeight: number;
  readonly clientHeight: number;
}

/** Nearer to the end than this counts as at the end: a line of text. */
const NEAR_PX = 28;
/** Browsers round `scrollTop`. */
const EXACT_PX = 2;

/**
 * Keeps the end of a growing text in view, only while the reader is there.
 *
 * The reader leaves by scrolling up, however little, or by selecting text, and comes back by scrolling to the end.
 * Nothing else moves the view: not growth, not an end.
 */
export class Follow {
  readonly #element: Scrolled;
  readonly #isHeld: () => boolean;
  readonly #isFollowing: Signal<boolean> = signal(true);
  #top = 0;

  /** `isHeld`: whether the reader holds on to something, such as selected text. */
  constructor(element: Scrolled, isHeld: () => boolean = () => false) {
    this.#element = element;
    this.#isHeld = isHeld;
    this.#top = element.scrollTop;
  }

  get isFollowing(): ReadonlySignal<boolean> {
    return this.#isFollowing;
  }

  /** The element was scrolled, by anyone. */
  scrolled(): void {
    const { scrollTop } = this.#element;
    const distance = this.#distance();
    if (distance <= EXACT_PX) this.#isFollowing.value = true;
    else if (scrollTop < this.#top) this.#isFollowing.value = false;
    else if (scrollTop > this.#top && distance <= NEAR_PX) this.#isFollowing.value = true;
    this.#top = scrollTop;
  }

  /** The content or the element changed its height. */
  resized(): void {
    if (!this.#isFollowing.value) return;
    if (this.#distance() <= EXACT_PX) {
      // Content that shrank pulls `scrollTop` along: that was no scroll of the reader.
      this.#top = this.#element.scrollTop;
      return;
    }
    // A scroll of the reader that was not told yet counts, too.
    if (this.#isHeld() || this.#element.scrollTop < this.#top - EXACT_PX) this.#isFollowing.value = false;
    else this.#toEnd();
  }

  /** Go to the end and follow from there: the reader asked for it. */
  jump(): void {
    this.#isFollowing.value = true;
    this.#toEnd();
  }

  #toEnd(): void {
    this.#element.scrollTop = this.#element.scrollHeight;
    this.#top = this.#element.scrollTop;
  }

  #distance(): number {
    return this.#element.scrollHeight - this.#element.clientHeight - this.#element.scrollTop;
  }
}
