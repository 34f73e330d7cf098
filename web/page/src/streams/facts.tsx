/** The facts of a stream, each with its name. */

import { type ComponentChildren, Fragment } from "preact";
import { formatCost, NO_PRICE } from "../money.ts";
import { sharedWords } from "../words.ts";
import { formatBytes, formatCount, formatCounted, formatDuration, formatMoment, formatRate } from "./format.ts";
import { durationOf, rateOf, ttftOf } from "./measures.ts";
import { isRunning, type Perceived, type Stream } from "./stream.ts";
import { counterWords, durabilityWords, UNKNOWN } from "./wording.ts";

export interface FactsProps {
  stream: Stream;
  /** Entries of its log; null when unknown. */
  entries: number | null;
  nowS: number;
  /** Others than the reader may own streams here. */
  showsOwner: boolean;
}

type Fact = readonly [name: string, value: ComponentChildren];

export function Facts(props: FactsProps) {
  return <FactList facts={[...factsOf(props), ...moneyFacts(props)]} />;
}

/** What its client reported of a stream that has ended. */
export function PerceivedFacts({ perceived }: { perceived: Perceived }) {
  return (
    <section class="streams-perceived" aria-label="What the client saw">
      <h2>What the client saw</h2>
      <FactList facts={perceivedFacts(perceived)} />
    </section>
  );
}

function FactList({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl class="streams-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function factsOf({ stream, entries, nowS, showsOwner }: FactsProps): Fact[] {
  const rate = rateOf(stream, nowS);
  const waits = isRunning(stream) && stream.firstContentAt === null;
  const facts: (Fact | null)[] = [
    ["Model", stream.model ?? UNKNOWN],
    ["Engine", engineOf(stream)],
    originOf(stream, showsOwner),
    ["Created", shown(stream.createdAt, formatMoment)],
    [
      "First token",
      waits ? "not yet" : stream.firstContentAt === null ? "never" : shown(ttftOf(stream), formatDuration),
    ],
    ["Duration", shown(durationOf(stream, nowS), formatDuration)],
    ["Tokens", tokensWords(stream)],
    ["Rate", rate === null ? "too little to tell" : `${formatRate(rate)} tokens/s`],
    ["Log", logWords(stream, entries)],
    ["Consumers", consumersWords(stream)],
    ["Lag", shown(stream.lag, (lag) => formatCounted(lag, "entry", "entries"))],
    ["Durability", durabilityWords(stream.durability)],
    stream.malformedChunks ? ["Unreadable chunks", formatCount(stream.malformedChunks)] : null,
    stream.finishReason !== null ? ["Finish reason", <code key="reason">{stream.finishReason}</code>] : null,
    ["Request", stream.requestId === null ? UNKNOWN : <code key="request">{stream.requestId}</code>],
  ];
  return facts.filter((fact) => fact !== null);
}

/** Whose it is, and what it cost. */
function moneyFacts({ stream, showsOwner }: FactsProps): Fact[] {
  const { owner, keyId, tags, deliveredTokens, generatedTokens, bill } = stream;
  const facts: (Fact | null)[] = [
    showsOwner && owner !== null ? ["Owner", owner] : null,
    keyId !== null ? ["Key", <code key="key">{keyId}</code>] : null,
    tags.length > 0 ? ["Tags", tags.map(([name, value]) => `${name}=${value}`).join(", ")] : null,
    deliveredTokens !== null && generatedTokens !== null ? ["Delivered", deliveredWords(stream)] : null,
    bill !== null ? ["Cost", costWords(stream)] : null,
  ];
  return facts.filter((fact) => fact !== null);
}

/** What answered, and what it calls the model where that is another name. */
function engineOf({ engine, engineModel, model }: Stream): ComponentChildren {
  if (engine === null || engineModel === null || engineModel === model) {
    return engine ?? UNKNOWN;
  }
  return (
    <>
      {engine}
      <small>as {engineModel}</small>
    </>
  );
}

/** That it is another request's answer, and whose, where the reader may look at that. */
function originOf({ id, source, logId }: Stream, seesAll: boolean): Fact | null {
  const shared = sharedWords(source);
  if (shared === null) {
    return null;
  }
  // An entry of the cache may be another owner's stream.
  const isOpen = logId !== id && (source !== "cache" || seesAll);
  return [
    "Origin",
    <Fragment key="origin">
      {shared[0]}
      {isOpen && (
        <small>
          stream <a href={`#/streams/${logId}`}>{logId}</a>
        </small>
      )}
    </Fragment>,
  ];
}

/** For what is shared nothing was generated. */
function deliveredWords({ deliveredTokens, generatedTokens, source }: Stream): string {
  const delivered = deliveredTokens ?? 0;
  return sharedWords(source) === null
    ? `${formatCount(delivered)} of ${formatCounted(generatedTokens ?? 0, "token", "tokens")}`
    : formatCounted(delivered, "token", "tokens");
}

function costWords({ bill, source }: Stream): ComponentChildren {
  if (bill === null || bill.usd === null) {
    return NO_PRICE;
  }
  const counter = bill.isEstimated ? "estimated by the relay" : "as the engine counted";
  return (
    <>
      {formatCost(bill.usd, bill.isEstimated)}
      <small>{sharedWords(source)?.[1] ?? counter}</small>
    </>
  );
}

function perceivedFacts(perceived: Perceived): Fact[] {
  const time = (ms: number | null) => shown(ms, (value) => formatDuration(value / 1000));
  return [
    ["First byte", time(perceived.firstByteMs)],
    ["First token", time(perceived.firstTokenMs)],
    ["First visible token", time(perceived.firstVisibleMs)],
    ["Per token", time(perceived.tpotMs)],
    ["In all", time(perceived.totalMs)],
    ["Reconnects", shown(perceived.reconnects, formatCount)],
    ["Transport", perceived.transport ?? UNKNOWN],
  ];
}

function tokensWords(stream: Stream): ComponentChildren {
  const { promptTokens, completionTokens } = stream;
  if (promptTokens === null && completionTokens === null) {
    return UNKNOWN;
  }
  const counter = counterWords(stream.tokensSource);
  return (
    <>
      {shown(promptTokens, formatCount)} in, {shown(completionTokens, formatCount)} out
      {counter !== null && <small>{counter}</small>}
    </>
  );
}

function logWords(stream: Stream, entries: number | null): string {
  const parts = [
    entries === null ? null : formatCounted(entries, "entry", "entries"),
    stream.bytes === null ? null : formatBytes(stream.bytes),
  ];
  return parts.filter((part) => part !== null).join(", ") || UNKNOWN;
}

function consumersWords(stream: Stream): ComponentChildren {
  if (stream.consumers === null) {
    return UNKNOWN;
  }
  return (
    <>
      {formatCount(stream.consumers)}
      {isRunning(stream) && <small>this page counts as one</small>}
    </>
  );
}

function shown(value: number | null, format: (value: number) => string): string {
  return value === null ? UNKNOWN : format(value);
}
