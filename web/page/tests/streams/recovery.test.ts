import { expect, test } from "vitest";
import { frameOf } from "../../src/streams/chart/frame.ts";
import { plotOf } from "../../src/streams/chart/plot.ts";
import { readoutOf, summaryOf } from "../../src/streams/chart/readout.ts";
import { flushesAt, streamOf } from "./kit.ts";

/** A refusal, a wait, an answer that broke off, and what went on. */
const RESCUED = {
  state: "completed",
  cause: "stop",
  first_content_at: 1002,
  ended_at: 1010,
  attempts: [
    { engine: "a", kind: "first", started_at: 1000, ended_at: 1000.5, cause: "upstream_rejected", status: 503 },
    {
      engine: "a",
      kind: "retry",
      started_at: 1001.5,
      first_content_at: 1002,
      ended_at: 1005,
      cause: "upstream_closed",
    },
    { engine: "b", kind: "continuation", started_at: 1005, first_content_at: 1006, ended_at: 1010, cause: "stop" },
  ],
  seams: [{ offset: 4, at: 1006, kind: "continuation", cause: "upstream_closed", to_engine: "b", to_model: "large" }],
};
const TIMES = [2, 3, 4, 4.9, 6, 7, 8, 9];
const plotted = (fields = {}) => plotOf(streamOf("s", { ...RESCUED, ...fields }), flushesAt(TIMES), 1010);

test("each try, the wait between two of them and the seam are where they were", () => {
  expect(plotted().recovery).toEqual({
    tries: [
      { fromS: 0, toS: 0.5, isLost: true },
      { fromS: 1.5, toS: 5, isLost: true },
      { fromS: 5, toS: 10, isLost: false },
    ],
    waits: [{ fromS: 0.5, toS: 1.5 }],
    seams: [{ offset: 4, brokeS: 5, atS: 6, engine: "b", words: "the engine broke off; b (large) goes on" }],
  });
});

test("a stream with one try has nothing of all that", () => {
  expect(plotted({ attempts: [], seams: [] }).recovery).toEqual({ tries: [], waits: [], seams: [] });
});

test.each([
  ["failed", true],
  ["truncated", true],
  ["cancelled", false],
  ["in_progress", false],
])("the last try of a stream that is %s was lost: %s", (state, isLost) => {
  expect(plotted({ state }).recovery.tries.at(-1)?.isLost).toBe(isLost);
});

test("a try that runs reaches until now", () => {
  const running = { attempts: [...RESCUED.attempts.slice(0, 2), { engine: "b", started_at: 1005 }], seams: [] };
  const stream = streamOf("s", { ...RESCUED, ...running, state: "in_progress", ended_at: null });
  expect(plotOf(stream, flushesAt(TIMES), 1012).recovery.tries.at(-1)).toEqual({ fromS: 5, toS: 12, isLost: false });
});

test("a try that began nothing is not what broke off", () => {
  const [first, second, third] = RESCUED.attempts;
  const silent = {
    engine: "c",
    kind: "continuation",
    started_at: 1005,
    ended_at: 1005.5,
    cause: "upstream_unreachable",
  };
  const plot = plotted({ attempts: [first, second, silent, { ...third, started_at: 1005.5 }] });
  expect(plot.recovery.seams[0]?.brokeS).toBe(5);
  // Behind the first token nobody waits for one: the line of entries shows it.
  expect(plot.recovery.waits).toEqual([{ fromS: 0.5, toS: 1.5 }]);
});

test("causes and kinds that this page does not know are told as they are", () => {
  const seam = { offset: 4, at: 1006, kind: "graft", cause: "upstream_bored", to_engine: "b" };
  expect(plotted({ seams: [seam] }).recovery.seams[0]?.words).toBe("upstream_bored; b goes on");
  expect(plotted({ seams: [{ offset: 4, at: 1006 }] }).recovery.seams[0]?.words).toBe("it broke off; unknown goes on");
});

test("labels say who goes on, and how long nobody was asked", () => {
  const labels = frameOf(plotted(), { state: "completed", words: null }, 900).labels.map(({ text }) => text);
  expect(labels).toEqual(expect.arrayContaining(["b goes on", "waited 1.00 s", "first token 2.00 s", "accepted"]));
});

test("the seam is read out with the flush that holds it, and counted for the whole", () => {
  const plot = plotted();
  const { bars } = frameOf(plot, { state: "completed", words: null }, 900);
  const facts = bars.map((bar) => readoutOf(plot, bar).facts.at(-1));
  expect(facts[4]).toEqual(["Seam at 4", "the engine broke off; b (large) goes on"]);
  expect(facts.filter((fact) => fact?.[0].startsWith("Seam"))).toHaveLength(1);
  expect(summaryOf(plot)).toContain(", 1 seam");
});

const SHARED = { source: "joined", log_id: "other", first_content_at: 1002, ended_at: 1009 };

test("of a log that another request began, times are counted from its first flush", () => {
  const plot = plotOf(streamOf("s", { ...SHARED, created_at: 1005, state: "completed" }), flushesAt(TIMES), 0);
  expect(plot).toMatchObject({
    isOlder: true,
    times: [0, 1, 2, expect.closeTo(2.9), 4, 5, 6, 7],
    acceptedS: 3,
    firstTokenS: null,
  });
  expect([plot.endS, plot.spanS]).toEqual([7, 7]);
});

test("of a log that had ended before, nothing of this request is on its line of time", () => {
  const cached = { ...SHARED, source: "cache", created_at: 90_000, first_content_at: 90_000, ended_at: 90_000 };
  const plot = plotOf(streamOf("s", { ...cached, state: "completed" }), flushesAt(TIMES), 90_001);
  expect(plot).toMatchObject({ isOlder: true, acceptedS: null, firstTokenS: null, endS: null, spanS: 7 });
  expect(frameOf(plot, { state: "completed", words: null }, 900).labels.map(({ text }) => text)).toEqual([
    "log begins",
  ]);
});
