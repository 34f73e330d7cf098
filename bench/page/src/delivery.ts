import type { Portion } from "./reader.ts";
import type { Renderer } from "./renderer.ts";

/** Writes an answer into a renderer: what has come since the last frame at once, in every frame. */
export class Delivery {
  readonly #renderer: Renderer;
  readonly #worker = new Worker(new URL("./reader.ts", import.meta.url), { type: "module" });
  #portion: Portion | null = null;
  #frames = 0;

  constructor(renderer: Renderer) {
    this.#renderer = renderer;
    this.#worker.onmessage = ({ data }: MessageEvent<Portion>) => {
      this.#portion = data;
    };
  }

  /** Resolves with how many frames brought text, once the renderer has all and was told the end; rejects when the stream breaks. */
  run(url: string): Promise<number> {
    this.#worker.postMessage(url);
    return new Promise((resolve, reject) => {
      const frame = () => {
        const portion = this.#portion;
        this.#portion = null;
        if (portion !== null) this.#write(portion);
        if (!portion?.hasEnded) return requestAnimationFrame(frame);
        this.#worker.terminate();
        return portion.error === null ? resolve(this.#frames) : reject(new Error(portion.error));
      };
      requestAnimationFrame(frame);
    });
  }

  #write({ text, hasEnded }: Portion): void {
    if (text !== "") {
      this.#frames++;
      this.#renderer.write(text);
    }
    if (hasEnded) this.#renderer.end();
    else this.#worker.postMessage(null);
  }
}
