/** The timeline as text, for those who do not see it, and for those who want the numbers. */

import { useState } from "preact/hooks";
import { formatBytes, formatCount, formatDuration } from "../format.ts";
import type { Plot } from "./plot.ts";
import { gapBefore, offsetsOf } from "./readout.ts";

/** Rows that come at once: a table of thousands would make the page slow. */
const PAGE_ROWS = 200;

export function FlushTable({ plot }: { plot: Plot }) {
  const [isOpen, setOpen] = useState(false);
  const [most, setMost] = useState(PAGE_ROWS);
  const hidden = plot.flushes.length - most;
  return (
    <details class="timeline-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Flushes</summary>
      {isOpen && <Rows plot={plot} most={most} />}
      {isOpen && hidden > 0 && (
        <button type="button" class="streams-button" onClick={() => setMost(most + PAGE_ROWS)}>
          Show {formatCount(Math.min(PAGE_ROWS, hidden))} more of {formatCount(hidden)}
        </button>
      )}
    </details>
  );
}

function Rows({ plot, most }: { plot: Plot; most: number }) {
  return (
    <table>
      <thead>
        <tr>
          {["Flush", "Time", "Gap before", "Offsets", "Entries", "Bytes"].map((name) => (
            <th scope="col" key={name}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {plot.flushes.slice(0, most).map((flush, index) => (
          <tr key={flush.offset}>
            <th scope="row">{formatCount(index + 1)}</th>
            <td>{formatDuration(plot.times[index] ?? 0)}</td>
            <td>{gapBefore(plot, index)}</td>
            <td>{offsetsOf([flush])}</td>
            <td>{formatCount(flush.entries)}</td>
            <td>{formatBytes(flush.bytes)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
