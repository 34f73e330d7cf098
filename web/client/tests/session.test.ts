import { describe, expect, test } from "vitest";
import { endingWith } from "../src/ending.ts";
import { type Failure, NEXT, type Phase } from "../src/failure.ts";
import { faultOf } from "../src/fault.ts";
import { type Patience, Session, type SessionOptions } from "../src/session.ts";
import { FakeClock, textChunk } from "./fakes.ts";

const PATIENCE: Patience = { timeout: 30_000, retryAttempts: 2, retryDelay: 800, resumeFor: 60_000 };
const LOST = { failure: "broken", fault: faultOf("lost", "the connection broke") } as const;

function setUp(over: Partial<SessionOptions> = {}): { session: Session; clock: FakeClock } {
  const clock = new FakeClock();
  const given = { isStart: true, streamId: "s1", after: -1, isMerged: false, patience: PATIENCE, clock };
  const session = new Session({ ...given, random: () => 0.5, isOnline: () => true, ...over });
  return { session, clock };
}

function breach(failure: Failure): { failure: Failure; fault: ReturnType<typeof faultOf> } {
  return { failure, fault: faultOf("relay", failure) };
}

/** Returns a session in a phase, which it reaches by what really leads there. */
function inPhase(phase: Phase): Session {
  const { session } = setUp({ isStart: phase !== "attaching", patience: { ...PATIENCE, retryAttempts: 10 } });
  if (phase === "following") session.receiveHead("s1");
  if (phase === "plain") session.receiveHead(null);
  if (phase === "unsure" || phase === "asking_again") {
    session.receiveBreach(LOST);
    session.wake();
  }
  if (phase === "asking_again") {
    session.receiveBreach(breach("not_found"));
    session.wake();
  }
  expect(session.phase).toBe(phase);
  return session;
}

const PAIRS = Object.entries(NEXT).flatMap(([phase, row]) =>
  Object.entries(row).map(([failure, next]) => [phase as Phase, failure as Failure, next] as const),
);

describe("the table", () => {
  test.each(PAIRS)("%s meets %s: %s", (phase, failure, next) => {
    const session = inPhase(phase);
    session.receiveBreach(breach(failure));
    if (next === "give_up") {
      expect(session.step.do).toBe("over");
      return;
    }
    expect(session.step.do).toBe("wait");
    session.wake();
    expect(session.step.do).toBe(next);
  });

  test("is of every phase and every failure", () => {
    expect(PAIRS).toHaveLength(6 * 9);
  });
});

describe("entries", () => {
  test("are told apart by offset", () => {
    const { session } = setUp();
    session.receiveHead("s1");
    const given = [0, 1, 1, 0, 2].map(
      (offset) => session.receive({ kind: "entry", offset, chunk: textChunk("ha") })?.offset,
    );
    expect(given).toEqual([0, 1, undefined, undefined, 2]);
  });

  test("with a hole before them break the protocol", () => {
    const { session } = setUp({ after: 4 });
    session.receiveHead("s1");
    expect(session.receive({ kind: "entry", offset: 6, chunk: {} })).toBeNull();
    expect(session.outcome()).toMatchObject({ ending: null, fault: { kind: "protocol" } });
    expect(session.mayRun).toBe(true);
  });

  test("may jump when they are merged", () => {
    const { session } = setUp({ isMerged: true });
    session.receiveHead("s1");
    expect(session.receive({ kind: "entry", offset: 6, chunk: {} })?.offset).toBe(6);
  });
});

describe("patience", () => {
  test("waits grow from retryDelay to five seconds, with jitter, and begin anew with an entry", () => {
    const { session } = setUp();
    session.receiveHead("s1");
    const waits: number[] = [];
    const fail = (): void => {
      session.receiveBreach(LOST);
      if (session.step.do === "wait") waits.push(session.step.ms);
      session.wake();
    };
    for (let count = 0; count < 5; count++) fail();
    session.receive({ kind: "entry", offset: 0, chunk: {} });
    fail();
    expect(waits).toEqual([400, 800, 1600, 2500, 2500, 400]);
  });

  test("Retry-After comes on top", () => {
    const { session } = setUp();
    session.receiveHead("s1");
    session.receiveBreach({ failure: "busy", fault: { ...faultOf("overloaded", ""), retryAfterMs: 7000 } });
    expect(session.step).toMatchObject({ do: "wait", ms: 7400 });
  });

  test("a Retry-After beyond patience is not waited for", () => {
    const { session } = setUp();
    session.receiveHead("s1");
    session.receiveBreach({ failure: "busy", fault: { ...faultOf("overloaded", ""), retryAfterMs: 3_600_000 } });
    expect(session.outcome().gaveUp).toBe(true);
  });

  test.each([0, 1, 2, 5])("a request that brings nothing is asked again %i times", (retryAttempts) => {
    const { session } = setUp({ patience: { ...PATIENCE, retryAttempts } });
    let asked = 1;
    for (session.receiveBreach(LOST); session.step.do === "wait"; session.receiveBreach(LOST)) {
      session.wake();
      asked += 1;
    }
    expect(asked).toBe(1 + retryAttempts);
    expect(session.outcome()).toMatchObject({ gaveUp: true, ending: null, fault: { kind: "lost" } });
  });

  async function resumeUntilLost(session: Session, clock: FakeClock, each: () => void): Promise<number> {
    const since = clock.now();
    for (session.receiveBreach(LOST); session.step.do === "wait"; session.receiveBreach(LOST)) {
      await clock.advance(session.step.ms);
      each();
      session.wake();
    }
    return clock.now() - since;
  }

  test("a stream is resumed for as long as patience lasts", async () => {
    const { session, clock } = setUp();
    session.receiveHead("s1");
    const tookMs = await resumeUntilLost(session, clock, () => {});
    expect(tookMs).toBeGreaterThan(50_000);
    expect(tookMs).toBeLessThanOrEqual(60_000);
  });

  test("sleep of the device does not count", async () => {
    const { session, clock } = setUp();
    session.receiveHead("s1");
    const tookMs = await resumeUntilLost(session, clock, () => {
      clock.sleep(3_600_000);
    });
    // Each of some fourteen naps is an hour; at most two seconds of each count.
    expect(tookMs).toBeGreaterThan(10 * 3_600_000);
  });

  test("time and tries without a network do not count", async () => {
    let isOnline = false;
    const { session, clock } = setUp({ isOnline: () => isOnline });
    for (let count = 0; count < 100; count++) {
      session.receiveBreach(LOST);
      expect(session.step.do).toBe("wait");
      await clock.advance(5000);
      session.wake();
    }
    isOnline = true;
    session.receiveBreach(LOST);
    expect(session.step.do).toBe("wait");
  });

  test("a sign of life renews it", async () => {
    const { session, clock } = setUp();
    session.receiveHead("s1");
    for (let count = 0; count < 10; count++) {
      await clock.advance(29_000);
      session.receiveBreach(LOST);
      expect(session.step.do).toBe("wait");
      session.wake();
      session.receiveHead("s1");
      session.receiveLife();
    }
    expect(session.outcome().reconnects).toBe(10);
  });
});

describe("stopping", () => {
  test("waits for the end, and an end that was wanted is no fault", () => {
    const { session } = setUp();
    session.receiveHead("s1");
    session.requestStop();
    expect(session.isOver).toBe(false);
    session.receive({ kind: "end", offset: 0, ending: endingWith("cancelled", "client_stop") });
    expect(session.outcome()).toMatchObject({ isStopped: true, fault: null });
  });

  test("does not send a request again", () => {
    const { session } = setUp();
    session.receiveBreach(breach("busy"));
    session.requestStop();
    session.wake();
    expect(session.outcome()).toMatchObject({ ending: { state: "cancelled", cause: "client_stop" }, fault: null });
  });

  test("ends at once where the server is no Headrace", () => {
    const { session } = setUp();
    session.receiveHead(null);
    session.requestStop();
    expect(session.outcome()).toMatchObject({ ending: { state: "cancelled" }, streamId: null });
  });

  test("by somebody else is a fault", () => {
    const { session } = setUp();
    session.receiveHead("s1");
    session.receive({ kind: "end", offset: 0, ending: endingWith("cancelled", "client_gone") });
    expect(session.outcome()).toMatchObject({ isStopped: false, fault: { kind: "cancelled" } });
  });

  test("does not turn a whole answer into a stopped one", () => {
    const { session } = setUp();
    session.receiveHead("s1");
    session.requestStop();
    session.receive({ kind: "end", offset: 0, ending: endingWith("completed", "stop") });
    expect(session.outcome()).toMatchObject({ isStopped: false, ending: { state: "completed" }, fault: null });
  });
});

test("nothing changes once it is over", () => {
  const { session } = setUp();
  session.leave();
  const before = session.outcome();
  session.receiveHead("s2");
  session.receive({ kind: "entry", offset: 0, chunk: {} });
  session.receiveBreach(LOST);
  session.requestStop();
  session.wake();
  expect(session.outcome()).toEqual(before);
  expect(session.step.do).toBe("over");
});

test("a foreign server that has no such route is asked again without Headrace's headers", () => {
  const session = inPhase("unsure");
  session.receiveBreach(breach("no_route"));
  session.wake();
  expect(session.step).toEqual({ do: "start", bare: true });
});
