import { describe, expect, test } from "vitest";
import { type Addressed, formatRoute, parseRoute, type Route, Router } from "../src/router.ts";

describe("an address", () => {
  const routes: Route[] = [
    { view: "home" },
    { view: "chat", conversationId: "a_B-9" },
    { view: "streams", streamId: null },
    { view: "streams", streamId: "strm_8Xk" },
    { view: "usage" },
    { view: "keys" },
  ];
  test.each(routes)("is read back as it was written: %o", (route) => {
    expect(parseRoute(formatRoute(route))).toEqual(route);
  });

  test.each([
    "",
    "#",
    "#/",
    "#/c",
    "#/c/",
    "#/c/a/b",
    "#/c/%3Cb%3E",
    "#/elsewhere/1",
    "#/usage/1",
    `#/c/${"x".repeat(65)}`,
  ])("that is none of ours leads home: %s", (hash) => {
    expect(parseRoute(hash)).toEqual({ view: "home" });
  });
});

/** A window of which only the address works. */
class FakeWindow implements Addressed {
  steps = 0;
  #hash: string;
  #listener = (): void => {};
  readonly history = {
    replaceState: (_data: unknown, _unused: string, url?: string | URL | null): void => {
      this.#hash = String(url);
    },
  };

  constructor(hash: string) {
    this.#hash = hash;
  }

  get location() {
    const get = () => this.#hash;
    const set = (hash: string) => {
      this.#hash = hash;
      this.steps += 1;
      this.#listener();
    };
    return {
      get hash() {
        return get();
      },
      set hash(hash: string) {
        set(hash);
      },
    };
  }

  addEventListener(_type: "hashchange", listener: () => void): void {
    this.#listener = listener;
  }
}

describe("a router", () => {
  test("begins at the window's address and follows it", () => {
    const window = new FakeWindow("#/streams");
    const router = new Router(window);
    expect(router.route.value).toEqual({ view: "streams", streamId: null });
    window.location.hash = "#/c/one";
    expect(router.route.value).toEqual({ view: "chat", conversationId: "one" });
  });

  test("going makes a step back possible, replacing does not", () => {
    const window = new FakeWindow("");
    const router = new Router(window);
    router.go({ view: "chat", conversationId: "one" });
    router.go({ view: "chat", conversationId: "two" }, { replace: true });
    expect(window.steps).toBe(1);
    expect(router.route.value).toEqual({ view: "chat", conversationId: "two" });
  });
});
