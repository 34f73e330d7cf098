/** What every renderer is to the benchmark: new text at most once a frame, then the end. */
export interface Renderer {
  write(delta: string): void;
  end(): void;
}

/** Puts a renderer into an element; resolves when it can take text. */
export type Mount = (root: HTMLElement) => Promise<Renderer>;
