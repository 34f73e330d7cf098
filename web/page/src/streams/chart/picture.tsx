/** The log as a picture. What it shows is said in words elsewhere, so it is hidden from assistive tools. */

import { useId } from "preact/hooks";
import { formatShortCount } from "../format.ts";
import type { StreamState } from "../stream.ts";
import {
  atX,
  BOTTOM_PX,
  barPath,
  type Frame,
  HEIGHT_PX,
  LABEL_ROW_PX,
  LEFT_PX,
  PLOT_PX,
  RIGHT_PX,
  TOP_PX,
} from "./frame.ts";
import type { Plot } from "./plot.ts";

export interface PictureProps {
  plot: Plot;
  frame: Frame;
  state: StreamState;
  /** Of the time axis, in pixels. */
  width: number;
  /** Index of the bar under the cursor; -1: none. */
  cursor: number;
}

export function Picture({ plot, frame, state, width, cursor }: PictureProps) {
  const total = LEFT_PX + width + RIGHT_PX;
  return (
    <svg
      class="timeline-picture"
      viewBox={`${-LEFT_PX} 0 ${total} ${HEIGHT_PX}`}
      width={total}
      height={HEIGHT_PX}
      aria-hidden="true"
      focusable="false"
    >
      <Spans plot={plot} width={width} />
      <Scales frame={frame} width={width} hasBars={frame.bars.length > 0} />
      <path class="timeline-bars" d={frame.shape} />
      <path class="timeline-line" d={frame.line} />
      <Tries plot={plot} width={width} />
      <Marks plot={plot} state={state} width={width} />
      <Labels frame={frame} state={state} width={width} />
      <Cursor frame={frame} cursor={cursor} />
    </svg>
  );
}

/** Stretches of time: waiting for the first token, and gaps. */
function Spans({ plot, width }: { plot: Plot; width: number }) {
  const pattern = `hatch-${useId()}`;
  const span = (fromS: number, toS: number) => {
    const x = atX(plot, fromS, width);
    return { x, width: Math.max(1, atX(plot, toS, width) - x), y: TOP_PX, height: PLOT_PX };
  };
  return (
    <>
      <defs>
        <pattern id={pattern} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <path class="timeline-hatch" d="M0 0V6" />
        </pattern>
      </defs>
      {plot.firstTokenS !== null && <rect class="timeline-wait" {...span(0, plot.firstTokenS)} />}
      {plot.recovery.waits.map(({ fromS, toS }) => (
        <rect key={fromS} class="timeline-pause" {...span(fromS, toS)} />
      ))}
      {plot.recovery.seams.map(({ brokeS, atS }) => (
        <rect key={atS} class="timeline-broken" {...span(brokeS, atS)} />
      ))}
      {plot.gaps.map((gap) => (
        <g key={gap.fromS} class="timeline-gap">
          <rect {...span(gap.fromS, gap.toS)} />
          <rect {...span(gap.fromS, gap.toS)} fill={`url(#${pattern})`} />
        </g>
      ))}
    </>
  );
}

function Scales({ frame, width, hasBars }: { frame: Frame; width: number; hasBars: boolean }) {
  return (
    <g class="timeline-scales">
      {[0, 0.5, 1].map((part) => (
        <path key={part} d={`M0 ${BOTTOM_PX - part * PLOT_PX}H${width}`} />
      ))}
      {hasBars && (
        <>
          <text x={-6} y={TOP_PX + 4} text-anchor="end">
            {formatShortCount(frame.barTop)}
          </text>
          <text x={-6} y={BOTTOM_PX + 4} text-anchor="end">
            0
          </text>
          <text class="timeline-line-scale" x={width + 6} y={TOP_PX + 4}>
            {formatShortCount(frame.lineTop)}
          </text>
        </>
      )}
      {frame.ticks.map(({ x, text }) => (
        <g key={text}>
          <path d={`M${x} ${BOTTOM_PX}v4`} />
          <text x={x} y={BOTTOM_PX + 18} text-anchor={x === 0 ? "start" : x > width - 20 ? "end" : "middle"}>
            {text}
          </text>
        </g>
      ))}
    </g>
  );
}

/** Each try as a line above the plot: where one ends and the next begins. */
function Tries({ plot, width }: { plot: Plot; width: number }) {
  return (
    <g class="timeline-tries">
      {plot.recovery.tries.map(({ fromS, toS, isLost }, index) => {
        const x = atX(plot, fromS, width);
        const wide = Math.max(3, atX(plot, toS, width) - x - 1);
        return <rect key={`${index}`} x={x} y={TOP_PX - 5} width={wide} height={4} rx={1} data-lost={isLost} />;
      })}
    </g>
  );
}

function Marks({ plot, state, width }: { plot: Plot; state: StreamState; width: number }) {
  const line = (timeS: number) => `M${atX(plot, timeS, width)} ${TOP_PX - 4}V${BOTTOM_PX}`;
  return (
    <g class="timeline-marks">
      {plot.acceptedS !== null && <path d={line(plot.acceptedS)} data-mark="accepted" />}
      {plot.firstTokenS !== null && <path d={line(plot.firstTokenS)} data-mark="first" />}
      {plot.recovery.seams.map(({ atS }) => (
        <path key={atS} d={line(atS)} data-mark="seam" />
      ))}
      {plot.endS !== null && <path d={line(plot.endS)} data-mark="end" data-state={state} />}
    </g>
  );
}

function Labels({ frame, state, width }: { frame: Frame; state: StreamState; width: number }) {
  return (
    <g class="timeline-labels">
      {frame.labels.map(({ key, text, left, isAtEnd, row }) => (
        <text
          key={key}
          x={isAtEnd ? width : left}
          text-anchor={isAtEnd ? "end" : "start"}
          y={TOP_PX - 9 - row * LABEL_ROW_PX}
          data-label={key.replace(/\d+$/, "")}
          data-state={key === "end" ? state : undefined}
        >
          {text}
        </text>
      ))}
    </g>
  );
}

function Cursor({ frame, cursor }: { frame: Frame; cursor: number }) {
  const bar = frame.bars[cursor];
  if (bar === undefined) {
    return null;
  }
  return (
    <g class="timeline-cursor">
      <path class="timeline-ray" d={`M${bar.centre} ${TOP_PX}V${BOTTOM_PX + 5}`} />
      <path class="timeline-chosen" d={barPath(bar, frame.barTop)} />
    </g>
  );
}
