import { visibleText } from "./visible.ts";

/** One frame's visible text: how many UTF-16 code units it shares with the frame before, and the rest. */
export type Frame = [shared: number, rest: string];

/**
 * Notes what each frame is about to show.
 *
 * A probe changes its size in every frame, so that its ResizeObserver is called in that frame after all animation frame
 * callbacks and before painting (WHATWG HTML, "update the rendering"): whoever changes the page when, this is what is seen.
 */
export class FrameWatch {
  readonly #root: HTMLElement;
  readonly #probe: HTMLElement;
  readonly #observer: ResizeObserver;
  readonly #frames: Frame[] = [];
  #before = "";
  #isWide = false;

  constructor(root: HTMLElement, probe: HTMLElement) {
    this.#root = root;
    this.#probe = probe;
    this.#observer = new ResizeObserver(() => this.#note());
    this.#observer.observe(probe);
    this.#watch();
  }

  /** Watches no longer, and returns the frames that differed from the one before. */
  stop(): Frame[] {
    this.#observer.disconnect();
    this.#watch = () => undefined;
    return this.#frames;
  }

  #watch = (): void => {
    requestAnimationFrame(() => {
      this.#isWide = !this.#isWide;
      this.#probe.style.width = this.#isWide ? "2px" : "1px";
      this.#watch();
    });
  };

  #note(): void {
    const text = visibleText(this.#root);
    if (text === this.#before) return;
    const shared = sharedLength(this.#before, text);
    this.#frames.push([shared, text.slice(shared)]);
    this.#before = text;
  }
}

/** Never ends within a character: half of one could not be told as JSON. */
function sharedLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  const isWithin = (a.codePointAt(length - 1) ?? 0) > 0xffff || (b.codePointAt(length - 1) ?? 0) > 0xffff;
  return isWithin ? length - 1 : length;
}
