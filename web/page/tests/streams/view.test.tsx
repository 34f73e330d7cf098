// @vitest-environment jsdom
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, expect, test } from "vitest";
import { readEngines } from "../../src/streams/engine.ts";
import type { StreamsEnvironment } from "../../src/streams/environment.ts";
import { SourceError } from "../../src/streams/source.ts";
import { View } from "../../src/streams/view.tsx";
import { FakeSource } from "./fake_source.ts";
import { flushesAt, ManualSurroundings, settled, streamOf } from "./kit.ts";

let root: HTMLElement | null = null;

afterEach(() => {
  if (root !== null) {
    render(null, root);
    root.remove();
  }
});

/** Does something, and lets the effects of what it led to, and of what they led to, run. */
async function doing(something: () => unknown): Promise<void> {
  await act(() => void something());
  for (let turn = 0; turn < 4; turn += 1) {
    await act(settled);
  }
}

/** Shows the view in a document; `open` shows another stream, or the list. */
async function show(
  streamId: string | null,
  prepare: (source: FakeSource) => void = () => {},
  startS = 0,
  seesAll = false,
) {
  const source = new FakeSource();
  prepare(source);
  const surroundings = new ManualSurroundings();
  const host = document.createElement("div");
  document.body.append(host);
  root = host;
  const went: string[] = [];
  const copied: string[] = [];
  const environment: StreamsEnvironment = {
    source,
    surroundings,
    nowS: () => surroundings.nowS + startS,
    seesAll: () => seesAll,
    nextFrame(draw) {
      draw();
      return () => {};
    },
    go: (hash) => went.push(hash),
    copy: async (text) => void copied.push(text),
  };
  const open = (id: string | null) => doing(() => render(<View streamId={id} environment={environment} />, host));
  await open(streamId);
  const pass = (ms: number) => doing(() => surroundings.pass(ms));
  return { host, source, surroundings, went, copied, open, pass };
}

function button(host: HTMLElement, name: string): HTMLButtonElement | undefined {
  return [...host.querySelectorAll("button")].find((found) => found.textContent === name);
}

const press = (host: HTMLElement, name: string) => doing(() => button(host, name)?.click());

const key = (element: Element | null, name: string) =>
  doing(() => element?.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true })));

const STALLED = {
  state: "truncated",
  cause: "upstream_stalled",
  first_content_at: 1000.5,
  ended_at: 1008,
  usage: { prompt_tokens: 3, completion_tokens: 212 },
  tokens_source: "counted",
};

test("a row says state, model, engine, age, duration, tokens, rate, consumers, lag and cause", async () => {
  const { host } = await show(
    null,
    (source) => {
      const usage = { completion_tokens: 81 };
      const running = { first_content_at: 1001, usage, consumers: 2, lag: 1500 };
      source.streams = [streamOf("strm_b", running), streamOf("strm_a", STALLED)];
    },
    9,
  );
  const rows = [...host.querySelectorAll("tbody tr")].map((row) => row.textContent);
  expect(rows[0]).toContain("Running");
  expect(rows[0]).toContain("sim on openai");
  expect(rows[0]).toMatch(/9 s ago9\.00 s811021,500$/);
  expect(rows[1]).toContain("The engine fell silent: 212 tokens kept");
  expect(host.querySelector("tbody .state-badge svg")).not.toBeNull();
  expect(host.querySelector<HTMLAnchorElement>("tbody a")?.getAttribute("href")).toBe("#/streams/strm_b");
});

test("a refresh keeps rows, and the focus in them, while new ones come before", async () => {
  const { host, source, pass } = await show(null, (source) => {
    source.streams = [streamOf("strm_a")];
  });
  const row = host.querySelector("tbody tr");
  const link = row?.querySelector("a");
  link?.focus();
  source.streams = [streamOf("strm_b", { created_at: 1001 }), streamOf("strm_a", STALLED)];
  await pass(1000);
  expect([...host.querySelectorAll("tbody tr")].map((found) => found.getAttribute("data-stream"))).toEqual([
    "strm_b",
    "strm_a",
  ]);
  expect(host.querySelectorAll("tbody tr")[1]).toBe(row);
  expect(document.activeElement).toBe(link);
  expect(row?.textContent).toContain("Cut short");
});

test("nothing is asked while the tab is hidden, nor after the view is gone", async () => {
  const { host, source, surroundings, pass } = await show(null);
  surroundings.setHidden(true);
  const asked = source.questions.length;
  await pass(60_000);
  expect(source.questions.length).toBe(asked);
  await doing(() => render(null, host));
  expect([surroundings.timers, surroundings.listeners]).toEqual([0, 0]);
});

test("a state is chosen by its name; an empty choice offers all", async () => {
  const { host, source } = await show(null, (source) => {
    source.streams = [streamOf("strm_a")];
  });
  const failed = [...host.querySelectorAll("label")].find((label) => label.textContent === "Failed");
  await doing(() => failed?.querySelector("input")?.click());
  expect(source.questions.at(-1)?.state).toBe("failed");
  expect(host.textContent).toContain("None of the relay's streams is in the state “Failed”");
  await press(host, "Show all");
  expect(host.querySelectorAll("tbody tr").length).toBe(1);
});

test("a first visit without streams says how to make one", async () => {
  const { host } = await show(null);
  expect(host.textContent).toContain("No streams yet");
  expect(host.querySelector('a[href="#/"]')).not.toBeNull();
});

test("an unreachable relay is told, and tried again on demand; what was known stays", async () => {
  const { host, source, pass } = await show(null, (source) => {
    source.failure = new SourceError("unreachable", "Failed to fetch");
  });
  expect(host.querySelector("[role=alert]")?.textContent).toContain("The relay does not answer");
  source.failure = null;
  source.streams = [streamOf("strm_a")];
  await press(host, "Try again");
  expect(host.querySelector("[role=alert]")).toBeNull();
  source.failure = new SourceError("unreachable", "Failed to fetch");
  await pass(1000);
  expect(host.querySelector("[role=alert]")?.textContent).toContain("The relay does not answer");
  expect(host.querySelectorAll("tbody tr").length).toBe(1);
});

test("while the relay does not answer, a stream opened grows neither older nor a gap", async () => {
  const { host, source, pass } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", { first_content_at: 1000 })];
    source.flushes = flushesAt([0, 0.1, 0.2]);
  });
  const before = host.querySelector(".streams-facts")?.textContent;
  source.failure = new SourceError("unreachable", "Failed to fetch");
  await pass(1000);
  await pass(9000);
  expect(host.querySelector(".streams-banner")?.textContent).toContain("What you see was true 10 s ago");
  expect(host.querySelector(".streams-facts")?.textContent).toBe(before);
  expect(host.querySelectorAll(".timeline-gap").length).toBe(0);
});

test("Older loads the next page, until there is no more", async () => {
  const { host } = await show(null, (source) => {
    source.streams = Array.from({ length: 30 }, (_, index) => streamOf(`s${index}`, { created_at: 900 - index }));
  });
  expect(host.querySelectorAll("tbody tr").length).toBe(20);
  await press(host, "Older");
  expect(host.querySelectorAll("tbody tr").length).toBe(30);
  expect(button(host, "Older")).toBeUndefined();
});

test("a stream opened says its facts, and what is not told is unknown", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", { ...STALLED, perceived: { first_visible_ms: 523, transport: "fetch" } })];
    source.flushes = flushesAt([0.5, 0.6]);
  });
  expect(host.querySelector(".streams-standing")?.textContent).toContain("The engine fell silent: 212 tokens kept");
  const facts = new Map(
    [...host.querySelectorAll(".streams-facts > div")].map((fact) => [
      fact.querySelector("dt")?.textContent,
      fact.querySelector("dd")?.textContent,
    ]),
  );
  expect(facts.get("Tokens")).toBe("3 in, 212 outcounted by the relay");
  expect(facts.get("Duration")).toBe("8.00 s");
  expect(facts.get("Consumers")).toBe("unknown");
  expect(facts.get("First visible token")).toBe("523 ms");
  expect(button(host, "Stop")).toBeUndefined();
});

test("Stop stops at once, without a question", async () => {
  const { host, source } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a")];
  });
  await press(host, "Stop");
  expect(source.calls).toContain("cancel strm_a");
  expect(host.querySelector("[role=status]")?.textContent).toContain("Stopped");
  expect(button(host, "Stop")).toBeUndefined();
});

test("Erase asks first; keeping it changes nothing", async () => {
  const { host, source } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", STALLED)];
  });
  await press(host, "Erase");
  expect(document.activeElement?.textContent).toBe("Keep it");
  await press(host, "Keep it");
  expect(button(host, "Erase")).toBeDefined();
  expect(source.calls.some((call) => call.startsWith("erase"))).toBe(false);
});

test("erased for good, it leads back to the list, which says so", async () => {
  const { host, source, went, open } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", STALLED)];
  });
  await press(host, "Erase");
  await press(host, "Erase for good");
  expect(source.calls).toContain("erase strm_a");
  expect(went).toEqual(["#/streams"]);
  await open(null);
  expect(host.querySelector("[role=status]")?.textContent).toBe("Erased strm_a");
});

test("an erasure that fails is told, and the stream stays", async () => {
  const { host, source, went } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", STALLED)];
  });
  await press(host, "Erase");
  source.failure = new SourceError("refused", "the store failed");
  await press(host, "Erase for good");
  expect(host.textContent).toContain("That could not be done: the store failed");
  expect(went).toEqual([]);
});

test("Copy id copies the id and says so", async () => {
  const { host, copied } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a")];
  });
  await press(host, "Copy id");
  expect(copied).toEqual(["strm_a"]);
  expect(button(host, "Copied")).toBeDefined();
});

test("the text is followed while it is looked at, and left without stopping anything", async () => {
  const { host, source, open } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a")];
  });
  expect(host.textContent).toContain("No text yet.");
  await doing(() => source.follower?.onText("Because "));
  await doing(() => source.follower?.onText("<b>"));
  await doing(() => source.follower?.onNote("Connection lost, resuming…"));
  expect(host.querySelector(".streams-text")?.textContent).toBe("Because <b>");
  expect(host.textContent).toContain("Connection lost, resuming…");
  await open(null);
  expect(source.calls).toContain("detach strm_a");
  expect(source.calls.some((call) => call.startsWith("cancel"))).toBe(false);
});

test("that an ended stream has no text is said once that is known", async () => {
  const { host, source } = await show("strm_a", (source) => {
    source.streams = [
      streamOf("strm_a", { state: "failed", cause: "upstream_rejected", message: "too many requests" }),
    ];
  });
  expect(host.querySelector('[aria-label="Text"]')?.textContent).toBe("TextLoading…");
  await doing(() => source.follower?.onEnd());
  expect(host.querySelector('[aria-label="Text"]')?.textContent).toBe("TextNo text.");
  expect(host.querySelector(".streams-standing")?.textContent).toBe("FailedNo answer: too many requests");
});

test("reasoning is there to be opened, apart from the answer", async () => {
  const { host, source } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a")];
  });
  expect(host.querySelector(".streams-reasoning")).toBeNull();
  await doing(() => source.follower?.onReasoning("hm"));
  expect(host.querySelector(".streams-reasoning .streams-text")?.textContent).toBe("hm");
});

test("back in the list, the focus is on the row that was left", async () => {
  const { open } = await show(null, (source) => {
    source.streams = [streamOf("strm_b", { created_at: 1001 }), streamOf("strm_a")];
  });
  await open("strm_a");
  await open(null);
  expect(document.activeElement?.getAttribute("href")).toBe("#/streams/strm_a");
});

test("keys move along the timeline's flushes, which are read out; Escape leaves them", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", STALLED)];
    source.flushes = flushesAt([0.5, 0.7, 0.9], 4);
  });
  const slider = host.querySelector("[role=slider]");
  await key(slider, "End");
  expect(slider?.getAttribute("aria-valuetext")).toContain("Flush 3 of 3: offsets 8 to 11");
  await key(slider, "ArrowLeft");
  expect(host.querySelector(".timeline-readout")?.textContent).toContain("Flush 2 of 3");
  expect(host.querySelector(".timeline-readout")?.textContent).toContain("Gap before200 ms");
  await key(slider, "Escape");
  expect(host.querySelector(".timeline-readout")?.textContent).toContain("3 flushes with 12 entries");
});

test("a pointer reads the flush nearest to it", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", STALLED)];
    source.flushes = flushesAt([1, 4, 7]);
  });
  await act(
    () =>
      void host
        .querySelector("[role=slider]")
        ?.dispatchEvent(new MouseEvent("pointermove", { clientX: 320, bubbles: true })),
  );
  expect(host.querySelector(".timeline-readout")?.textContent).toContain("Flush 2 of 3");
});

test("the picture has its marks, gaps and labels, and is hidden from assistive tools", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", STALLED)];
    source.flushes = flushesAt([0.5, 0.6, 0.7, 0.8]);
  });
  const picture = host.querySelector(".timeline-picture");
  expect(picture?.getAttribute("aria-hidden")).toBe("true");
  expect([...(picture?.querySelectorAll("[data-mark]") ?? [])].map((mark) => mark.getAttribute("data-mark"))).toEqual([
    "accepted",
    "first",
    "end",
  ]);
  expect(picture?.querySelectorAll(".timeline-gap").length).toBe(1);
  expect(picture?.textContent).toContain("gap 7.20 s");
  expect(host.querySelector(".timeline-gaps")?.textContent).toBe("1 gap: 7.20 s at 800 ms");
});

test("the flushes are a table too, some hundreds at a time", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", STALLED)];
    source.flushes = flushesAt(
      Array.from({ length: 450 }, (_, index) => 0.5 + index * 0.01),
      2,
    );
  });
  const details = host.querySelector<HTMLDetailsElement>("details.timeline-table");
  await doing(() => {
    if (details !== null) {
      details.open = true;
      details.dispatchEvent(new Event("toggle"));
    }
  });
  expect(details?.querySelectorAll("tbody tr").length).toBe(200);
  expect(details?.querySelectorAll("tbody tr")[1]?.textContent).toBe("2510 ms10 ms2 to 32200 B");
  await press(host, "Show 200 more of 250");
  expect(details?.querySelectorAll("tbody tr").length).toBe(400);
});

test("a stream that the relay does not have says so, and leads to the list", async () => {
  const { host } = await show("strm_gone");
  expect(host.querySelector("[role=alert]")?.textContent).toContain("The relay has no such stream");
  expect(host.querySelector('[role=alert] a[href="#/streams"]')).not.toBeNull();
});

test("a relay without timelines shows everything else", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a")];
    source.hasTimeline = false;
  });
  expect(host.textContent).toContain("The relay does not tell when the entries of this stream were written.");
  expect(host.querySelector(".streams-facts")).not.toBeNull();
});

const BILLED = {
  ...STALLED,
  owner: "search",
  tags: { team: "web", feature: "chat" },
  generated_tokens: 212,
  delivered_tokens: 200,
  cost: { usd: "0.0000021", basis: "estimated", rule: "generated" },
};

test("the facts of a stream say what it cost, its tags, and to admins whose it is", async () => {
  const prepare = (source: FakeSource) => {
    source.streams = [streamOf("strm_a", BILLED)];
  };
  const { host, open } = await show("strm_a", prepare, 9, true);
  const facts = host.querySelector(".streams-facts")?.textContent;
  expect(facts).toContain("Ownersearch");
  expect(facts).toContain("Tagsteam=web, feature=chat");
  expect(facts).toContain("Costabout $0.0000021");
  expect(facts).toContain("Delivered200 of 212 tokens");
  await open(null);
  expect(host.querySelector("tbody tr")?.textContent).toContain("sim on openai, for search");
});

test("members are not told that all is theirs, and no known price is no price of zero", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", { ...BILLED, cost: { usd: null, basis: "estimated" } })];
  });
  const facts = host.querySelector(".streams-facts")?.textContent;
  expect(facts).not.toContain("Owner");
  expect(facts).toContain("Costno price known");
});

const RESCUED = {
  ...BILLED,
  state: "completed",
  cause: "stop",
  engine: "backup",
  engine_model: "large",
  source: "engine",
  log_id: "strm_a",
  retry_budget: 120,
  attempts: [
    {
      engine: "main",
      model: "sim",
      kind: "first",
      started_at: 1000,
      ended_at: 1000.2,
      cause: "upstream_rejected",
      status: 503,
      message: "overloaded",
      usd: "0",
    },
    {
      engine: "main",
      model: "sim",
      kind: "retry",
      started_at: 1000.3,
      first_content_at: 1000.5,
      ended_at: 1002,
      cause: "upstream_closed",
      prompt_tokens: 9,
      completion_tokens: 3,
      usd: "0.0000021",
    },
    {
      engine: "backup",
      model: "large",
      kind: "continuation",
      started_at: 1002,
      first_content_at: 1003,
      ended_at: 1008,
      cause: "stop",
      prompt_tokens: 12,
      cached_tokens: 4,
      completion_tokens: 5,
      usd: null,
    },
  ],
  seams: [
    { offset: 2, at: 1003, kind: "continuation", cause: "upstream_closed", to_engine: "backup", to_model: "large" },
  ],
};

test("what took several tries says each of them, and where it broke off and went on", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", RESCUED)];
    source.flushes = flushesAt([0.5, 0.6, 3, 4, 5]);
  });
  expect(host.querySelector(".streams-facts")?.textContent).toContain("Enginebackupas large");
  const section = host.querySelector('[aria-label="Attempts"]');
  expect(section?.querySelector("header")?.textContent).toBe(
    "Attempts3 tries; the first token was due within 2 min, waits included",
  );
  const rows = [...(section?.querySelectorAll("tbody tr") ?? [])].map((row) =>
    [...row.children].map((cell) => cell.textContent),
  );
  expect(rows).toEqual([
    [
      "Attempt 1",
      "main",
      "First try",
      "none",
      "none",
      "The engine refused after 200 msHTTP 503: overloaded",
      "0 in, 0 out",
      "$0",
    ],
    [
      "Attempt 2",
      "main",
      "Tried again",
      "100 ms",
      "200 ms",
      "The engine broke off after 1.70 s",
      "9 in, 3 out",
      "$0.0000021",
    ],
    [
      "Attempt 3",
      "backuplarge",
      "To go on where it broke off",
      "none",
      "1.00 s",
      "Complete after 6.00 s",
      "12 in, 5 out4 cached",
      "no price known",
    ],
  ]);
  expect(host.querySelector(".timeline-seams")?.textContent).toBe(
    "Offset 2, at 2.00 s: the engine broke off; backup (large) goes on 1.00 s later",
  );
  expect(host.querySelectorAll('[data-mark="seam"]').length).toBe(1);
  expect(host.querySelectorAll(".timeline-pause").length).toBe(1);
  expect(host.querySelectorAll(".timeline-tries rect").length).toBe(3);
});

test("one try is no table", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", { ...RESCUED, attempts: [], seams: [] })];
    source.flushes = flushesAt([0.5, 0.6]);
  });
  expect(host.querySelector('[aria-label="Attempts"]')).toBeNull();
  expect(host.querySelector(".timeline-seams")).toBeNull();
});

test.each([
  ["joined", "Shared with another request", "the request that began it pays"],
  ["repeated", "Repeated from an earlier request", "it was paid for the first time"],
  ["cache", "From the cache", "nothing was generated for it"],
  ["hedge", "Not generated for this request (hedge)", "estimated by the relay"],
])("an answer that is %s says so, whose it is, and why it cost nothing", async (source, words, why) => {
  const shared = { ...BILLED, source, log_id: "strm_b", generated_tokens: 0, cost: { usd: "0", basis: "estimated" } };
  const prepare = (relay: FakeSource) => {
    relay.streams = [streamOf("strm_a", shared)];
  };
  const { host, open } = await show("strm_a", prepare, 9, true);
  const facts = host.querySelector(".streams-facts")?.textContent;
  expect(facts).toContain(`Origin${words}stream strm_b`);
  expect(facts).toContain(`Cost$0${why}`);
  expect(facts).toContain("Delivered200 tokens");
  expect(host.querySelector('.streams-facts a[href="#/streams/strm_b"]')).not.toBeNull();
  await open(null);
  expect(host.querySelector("tbody tr")?.textContent?.toLowerCase()).toContain(
    `sim on openai, ${words.toLowerCase()}, for search`,
  );
});

test("a member is not led to what may be another owner's stream", async () => {
  const { host } = await show("strm_a", (source) => {
    source.streams = [streamOf("strm_a", { ...BILLED, source: "cache", log_id: "strm_b" })];
  });
  expect(host.querySelector(".streams-facts")?.textContent).toContain("From the cache");
  expect(host.textContent).not.toContain("strm_b");
});

test("an admin sees how the engines do; a member's page does not ask", async () => {
  const prepare = (source: FakeSource) => {
    source.health = readEngines({
      data: [
        {
          engine: "claude",
          model: "sonnet",
          standing: "resting",
          ready_in_s: 4.2,
          failures_in_a_row: 5,
          requests: 9,
          failed: 6,
          limited: 1,
          first_token: { p50_s: 0.2, p90_s: 0.4 },
        },
        { engine: "local", standing: "ready", is_slow: true },
        { engine: "new", standing: "quarantined" },
      ],
    });
  };
  const { host } = await show(null, prepare, 0, true);
  expect(host.querySelector(".streams-engines summary")?.textContent).toBe(
    "Engines: 1 resting, 1 ready, 1 quarantined",
  );
  const rows = [...host.querySelectorAll(".streams-engines tbody tr")].map((row) => row.textContent);
  expect(rows).toEqual([
    "claudesonnetRestingfor 4.20 s more, 5 failures in a row961200 ms400 ms",
    "localReadyslow000nonenone",
    "newquarantined000nonenone",
  ]);
  if (root !== null) render(null, root);
  const member = await show(null, prepare);
  expect(member.source.calls).toEqual([]);
  expect(member.host.querySelector(".streams-engines")).toBeNull();
});
