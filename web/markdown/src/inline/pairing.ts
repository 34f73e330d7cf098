import { OpenRuns, type Run } from "./delimiters.ts";
import type { Inline } from "./tree.ts";

/** What reading finds before runs are paired. */
export type Piece = Inline | Run;

/** Make emphasis of the runs that pair, and text of the rest. */
export function pairRuns(pieces: readonly Piece[]): Inline[] {
  if (!pieces.some((piece) => piece.type === "run")) return joined(pieces);
  const out: Piece[] = [];
  const open = new OpenRuns();
  for (const piece of pieces) {
    if (piece.type === "run" && piece.closes) open.close(piece, (opener, marks) => wrap(out, opener, marks));
    if (piece.type !== "run" || piece.left > 0) out.push(piece);
    if (piece.type === "run" && piece.opens && piece.left > 0) open.runs.push(piece);
  }
  return joined(out);
}

/** Wrap all that stands after an opener. */
function wrap(out: Piece[], opener: Run, marks: number): void {
  const at = out.lastIndexOf(opener);
  const inner = joined(out.splice(at + 1));
  if (opener.left === 0) out.length = at;
  out.push({ type: opener.mark === "~" ? "del" : marks === 2 ? "strong" : "em", inner });
}

/** Runs without a partner are text; text beside text is one. */
function joined(pieces: readonly Piece[]): Inline[] {
  const nodes: Inline[] = [];
  let text = "";
  for (const piece of pieces) {
    if (piece.type === "text") text += piece.text;
    else if (piece.type === "run") text += piece.mark.repeat(piece.left);
    else {
      if (text !== "") nodes.push({ type: "text", text });
      text = "";
      nodes.push(piece);
    }
  }
  if (text !== "") nodes.push({ type: "text", text });
  return nodes;
}
