import { Delivery } from "./delivery.ts";
import { type Frame, FrameWatch } from "./frames.ts";
import { LongTasks } from "./longtasks.ts";
import { whenQuiet } from "./quiet.ts";
import type { Mount, Renderer } from "./renderer.ts";
import { visibleText } from "./visible.ts";

const MOUNTS: Record<string, () => Promise<{ mount: Mount }>> = {
  text: () => import("./renderers/text.ts"),
  headrace: () => import("./renderers/headrace.ts"),
  "react-markdown": () => import("./renderers/react-markdown.ts"),
  streamdown: () => import("./renderers/streamdown.ts"),
};

/** What one answer did to the page. All times in milliseconds. */
export interface Seen {
  /** From the request until the page had its last change. */
  totalMs: number;
  /** From the frame in which the end was told until the last change. */
  behindMs: number;
  longTasksMs: number[];
  /** Frames that brought text. */
  deliveries: number;
  /** Empty unless frames were watched. */
  frames: Frame[];
}

/** What `bench/markdown.py` calls. */
class Bench {
  #renderer: Renderer | null = null;
  readonly #root = byId("answer");

  async mount(name: string): Promise<void> {
    const load = MOUNTS[name];
    if (load === undefined) throw new RangeError(`no renderer ${name}`);
    this.#renderer = await (await load()).mount(this.#root);
  }

  /** Shows the answer of `url`. With `watched` frames are noted, which costs time of its own. */
  async show(url: string, watched: boolean): Promise<Seen> {
    if (this.#renderer === null) throw new Error("mount a renderer first");
    const watch = watched ? new FrameWatch(this.#root, byId("probe")) : null;
    const longTasks = new LongTasks();
    const startMs = performance.now();
    const deliveries = await new Delivery(this.#renderer).run(url);
    const endMs = performance.now();
    const lastMs = await whenQuiet(this.#root);
    return {
      totalMs: lastMs - startMs,
      behindMs: lastMs - endMs,
      longTasksMs: longTasks.stop(),
      deliveries,
      frames: watch?.stop() ?? [],
    };
  }

  /** Returns the paths of all modules that the page has loaded, relative to it. */
  scripts(): string[] {
    const names = performance.getEntriesByType("resource").map(({ name }) => name.replace(document.baseURI, ""));
    return names.filter((name) => name.endsWith(".js"));
  }

  /** Returns the text that the page shows now. */
  text(): string {
    return visibleText(this.#root);
  }
}

function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

declare global {
  interface Window {
    bench: Bench;
  }
}

window.bench = new Bench();
