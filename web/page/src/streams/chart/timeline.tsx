/** The log as a timeline: the picture, what is said of a flush pointed at, and the same as a table. */

import type { ComponentChildren } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { formatCount, formatCounted, formatDuration } from "../format.ts";
import type { Stream } from "../stream.ts";
import type { Timeline } from "../timeline.ts";
import { endWords } from "../wording.ts";
import { type Bar, barOfFlush, nearestBar } from "./bars.ts";
import { FlushTable } from "./flush_table.tsx";
import { type Frame, frameOf, LEFT_PX, RIGHT_PX } from "./frame.ts";
import { Picture } from "./picture.tsx";
import { type Plot, plotOf } from "./plot.ts";
import { type Readout, readoutOf, sentenceOf, summaryOf } from "./readout.ts";
import { stepOf } from "./steps.ts";
import { useWidth } from "./width.ts";

export interface TimelineProps {
  stream: Stream;
  timeline: Timeline;
  nowS: number;
}

export function StreamTimeline({ stream, timeline, nowS }: TimelineProps) {
  const root = useRef<HTMLDivElement>(null);
  const width = Math.max(80, useWidth(root) - LEFT_PX - RIGHT_PX);
  // An ended stream does not change, whatever the time is.
  const untilS = stream.endedAt ?? nowS;
  const plot = useMemo(() => plotOf(stream, timeline.flushes, untilS), [stream, timeline.flushes, untilS]);
  const words = endWords(stream);
  const frame = useMemo(() => frameOf(plot, { state: stream.state, words }, width), [plot, stream.state, words, width]);
  const [flush, setFlush] = useState(-1);
  const { bars } = frame;
  const cursor = barOfFlush(bars, flush);
  const bar = bars[cursor];
  const readout = bar === undefined ? null : readoutOf(plot, bar);
  const choose = (index: number) => setFlush(bars[index]?.first ?? -1);
  // The same element each time, so that moving along the timeline does not compare the rows of the table.
  const table = useMemo(() => <FlushTable plot={plot} />, [plot]);
  const picture = <Picture plot={plot} frame={frame} state={stream.state} width={width} cursor={cursor} />;
  return (
    <div class="timeline" ref={root}>
      {bars.length === 0 ? (
        <>
          {picture}
          <p class="streams-note">{stream.endedAt === null ? "Nothing is written yet." : "Nothing was written."}</p>
        </>
      ) : (
        <>
          <Scrubber plot={plot} bars={bars} cursor={cursor} readout={readout} onChoose={choose}>
            {picture}
          </Scrubber>
          <Legend frame={frame} plot={plot} />
          <ReadoutLine readout={readout} summary={summaryOf(plot)} />
          <Seams plot={plot} />
          <Gaps plot={plot} />
          {table}
        </>
      )}
      {plot.isOlder && (
        <p class="streams-note">The log is that of the stream it shares; times are counted from its first flush.</p>
      )}
      {timeline.isCut && (
        <p class="streams-note">Only the first {formatCount(plot.flushes.length)} flushes are shown.</p>
      )}
    </div>
  );
}

interface ScrubberProps {
  plot: Plot;
  bars: readonly Bar[];
  cursor: number;
  readout: Readout | null;
  onChoose: (bar: number) => void;
  children: ComponentChildren;
}

/** Lets a pointer or keys choose a flush. A slider, for that is what assistive tools know how to move along a line. */
function Scrubber({ plot, bars, cursor, readout, onChoose, children }: ScrubberProps) {
  const count = bars.length;
  const hasFocus = useRef(false);
  const point = (event: PointerEvent & { currentTarget: HTMLElement }) => {
    const x = event.clientX - event.currentTarget.getBoundingClientRect().left - LEFT_PX;
    onChoose(nearestBar(bars, x));
  };
  const press = (event: KeyboardEvent) => {
    const next = stepOf(event.key, cursor, count);
    if (next !== null) {
      event.preventDefault();
      onChoose(next);
    } else if (event.key === "Escape") {
      onChoose(-1);
    }
  };
  return (
    <div
      class="timeline-scrubber"
      role="slider"
      tabIndex={0}
      aria-label="Flushes by time"
      aria-valuemin={1}
      aria-valuemax={count}
      aria-valuenow={Math.max(1, cursor + 1)}
      aria-valuetext={readout === null ? summaryOf(plot) : sentenceOf(readout)}
      onPointerMove={point}
      onPointerDown={point}
      onPointerLeave={(event) => event.pointerType === "mouse" && !hasFocus.current && onChoose(-1)}
      onKeyDown={press}
      onFocus={() => {
        hasFocus.current = true;
      }}
      onBlur={() => {
        hasFocus.current = false;
      }}
    >
      {children}
    </div>
  );
}

function Legend({ frame, plot }: { frame: Frame; plot: Plot }) {
  const { recovery } = plot;
  return (
    <ul class="timeline-legend">
      <li data-legend="bars">{frame.isBinned ? "entries flushed (a bar is several flushes)" : "entries in a flush"}</li>
      <li data-legend="line">entries so far</li>
      {plot.firstTokenS !== null && <li data-legend="wait">waiting for the first token</li>}
      {plot.gaps.length > 0 && <li data-legend="gap">gap without a flush</li>}
      {recovery.waits.length > 0 && <li data-legend="pause">nobody asked</li>}
      {recovery.tries.length > 0 && <li data-legend="tries">attempts</li>}
      {recovery.seams.length > 0 && <li data-legend="seam">seam: broken off, and on with another attempt</li>}
    </ul>
  );
}

function ReadoutLine({ readout, summary }: { readout: Readout | null; summary: string }) {
  if (readout === null) {
    return (
      <div class="timeline-readout">
        <p>{summary}.</p>
        <p class="streams-note">Point at the timeline, or use its arrow keys, to read a flush.</p>
      </div>
    );
  }
  return (
    <div class="timeline-readout">
      <p>{readout.title}</p>
      <dl>
        {readout.facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** Where the answer broke off, and what went on. */
function Seams({ plot }: { plot: Plot }) {
  const { seams } = plot.recovery;
  if (seams.length === 0) {
    return null;
  }
  return (
    <ul class="timeline-seams" aria-label="Seams">
      {seams.map(({ offset, brokeS, atS, words }) => (
        <li key={atS}>
          <strong>Offset {formatCount(offset)}</strong>, at {formatDuration(brokeS)}: {words}
          {atS > brokeS && ` ${formatDuration(atS - brokeS)} later`}
        </li>
      ))}
    </ul>
  );
}

/** Most gaps told one by one. */
const GAPS_TOLD = 8;

function Gaps({ plot }: { plot: Plot }) {
  if (plot.gaps.length === 0) {
    return null;
  }
  const longest = [...plot.gaps].sort((a, b) => b.toS - b.fromS - (a.toS - a.fromS)).slice(0, GAPS_TOLD);
  const more = plot.gaps.length - longest.length;
  return (
    <p class="timeline-gaps">
      <strong>{formatCounted(plot.gaps.length, "gap", "gaps")}:</strong>{" "}
      {longest
        .sort((a, b) => a.fromS - b.fromS)
        .map(
          ({ fromS, toS, isOpen }) =>
            `${formatDuration(toS - fromS)}${isOpen ? " so far" : ""} at ${formatDuration(fromS)}`,
        )
        .join(", ")}
      {more > 0 && `, and ${formatCounted(more, "shorter one", "shorter ones")}`}
    </p>
  );
}
