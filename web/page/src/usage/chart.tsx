/** A report drawn. The table beneath says the same in words, so the picture is hidden from assistive tools. */

import type { ComponentChildren, JSX } from "preact";
import { useRef } from "preact/hooks";
import { useWidth } from "../streams/chart/width.ts";
import { type Bar, columnsOf, formatMeasure, type Measure, sizeOf, topOf } from "./bars.ts";

/** Mean width of a character at the picture's font size (11 px of a sans-serif), with something to spare. */
const CHARACTER_PX = 6.4;
const PLOT_PX = 120;
const TOP_PX = 10;
const LEFT_PX = 64;
const ROW_PX = 26;
const VALUE_PX = 76;

interface ChartProps {
  readonly bars: readonly Bar[];
  readonly measure: Measure;
  /** What the groups are, in words. */
  readonly by: string;
  readonly isByDay: boolean;
}

export function Chart({ bars, measure, by, isByDay }: ChartProps): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  const width = useWidth(root);
  const hasEstimates = bars.some(({ estimated }) => estimated > 0);
  return (
    <figure class="usage-chart">
      <figcaption class="hint">
        {measure === "cost" ? "Cost" : "Completion tokens"} by {by}
      </figcaption>
      <div ref={root}>
        {isByDay ? (
          <Columns bars={bars} measure={measure} width={width} />
        ) : (
          <Rows bars={bars} measure={measure} width={width} />
        )}
      </div>
      {hasEstimates ? (
        <ul class="usage-legend">
          <li data-part="reported">counted by the engine</li>
          <li data-part="estimated">estimated by the relay</li>
        </ul>
      ) : null}
    </figure>
  );
}

interface PictureProps {
  readonly bars: readonly Bar[];
  readonly measure: Measure;
  readonly width: number;
}

/** Time runs to the right. */
function Columns({ bars, measure, width }: PictureProps): JSX.Element {
  const top = topOf(Math.max(...bars.map(sizeOf), 0));
  const places = columnsOf(bars.length, Math.max(40, width - LEFT_PX));
  const heightOf = (value: number) => (value / top) * PLOT_PX;
  const bottom = TOP_PX + PLOT_PX;
  return (
    <Picture width={width} height={bottom + 24}>
      {[0, 0.5, 1].map((part) => (
        <path key={part} class="usage-scale" d={`M${LEFT_PX} ${bottom - part * PLOT_PX}H${width}`} />
      ))}
      <text x={LEFT_PX - 6} y={TOP_PX + 4} text-anchor="end">
        {formatMeasure(measure, top)}
      </text>
      <text x={LEFT_PX - 6} y={bottom + 4} text-anchor="end">
        0
      </text>
      {bars.map(({ label, reported, estimated }, index) => {
        const { x, wide } = places[index] ?? { x: 0, wide: 0 };
        const at = { x: LEFT_PX + x, width: wide };
        return (
          <g key={label}>
            <title>{`${label}: ${formatMeasure(measure, reported + estimated)}`}</title>
            <rect data-part="reported" {...at} y={bottom - heightOf(reported)} height={heightOf(reported)} />
            <rect
              data-part="estimated"
              {...at}
              y={bottom - heightOf(reported + estimated)}
              height={heightOf(estimated)}
            />
          </g>
        );
      })}
      <Dates bars={bars} width={width} y={bottom + 17} />
    </Picture>
  );
}

/** The first and the last day; what is between can be counted. */
function Dates({ bars, width, y }: { bars: readonly Bar[]; width: number; y: number }): JSX.Element {
  const [first, last] = [bars[0], bars.at(-1)];
  return (
    <>
      <text x={LEFT_PX} y={y}>
        {first?.label.slice(5)}
      </text>
      {last === undefined || last === first ? null : (
        <text x={width} y={y} text-anchor="end">
          {last.label.slice(5)}
        </text>
      )}
    </>
  );
}

/** One line a group: its name, its bar, its value. */
function Rows({ bars, measure, width }: PictureProps): JSX.Element {
  const most = Math.max(...bars.map(sizeOf), 0) || 1;
  const named = Math.min(width * 0.36, Math.max(60, ...bars.map(({ label }) => label.length * CHARACTER_PX + 10)));
  const room = Math.max(20, width - named - VALUE_PX);
  return (
    <Picture width={width} height={bars.length * ROW_PX}>
      {bars.map(({ label, reported, estimated }, index) => {
        const [known, guessed] = [(reported / most) * room, (estimated / most) * room];
        const y = index * ROW_PX;
        return (
          <g key={label}>
            <title>{label}</title>
            <text x={named - 8} y={y + 17} text-anchor="end">
              {cut(label, Math.floor((named - 8) / CHARACTER_PX))}
            </text>
            <rect data-part="reported" x={named} y={y + 5} width={known} height={ROW_PX - 10} />
            <rect data-part="estimated" x={named + known} y={y + 5} width={guessed} height={ROW_PX - 10} />
            <text x={named + known + guessed + 6} y={y + 17}>
              {formatMeasure(measure, reported + estimated)}
            </text>
          </g>
        );
      })}
    </Picture>
  );
}

function Picture(props: { width: number; height: number; children: ComponentChildren }): JSX.Element {
  const { width, height } = props;
  return (
    <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true" focusable="false">
      {props.children}
    </svg>
  );
}

function cut(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, Math.max(1, characters - 1))}…`;
}
