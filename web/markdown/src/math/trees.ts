import temml from "temml";

/** A formula in TeX. */
export interface Formula {
  readonly tex: string;
  readonly isDisplay: boolean;
}

/** What a formula is set as: MathML elements with all that temml gave them, and text. Nothing is checked yet. */
export type MathTree =
  | string
  | {
      readonly name: string;
      readonly attributes: Readonly<Record<string, string>>;
      readonly style: Readonly<Record<string, string>>;
      readonly inner: readonly MathTree[];
    };

/** What may be asked of TeX: no links, no HTML, and an end. */
const OPTIONS = { trust: false, strict: false, throwOnError: true, maxExpand: 200 } as const;

/** What is used of temml, which its types do not tell. */
interface Temml {
  __renderToMathMLTree(tex: string, options: object): unknown;
}

/** Set a formula; null if this is no TeX that is known. */
export function setFormula({ tex, isDisplay }: Formula): MathTree | null {
  const { __renderToMathMLTree: build }: Temml = Object(temml);
  try {
    return treeOf(build(tex, { ...OPTIONS, maxSize: [20, 500], displayMode: isDisplay }));
  } catch {
    return null;
  }
}

/** A node of temml's own tree, of which its types tell nothing; see `src/mathMLTree.js` there. */
function treeOf(node: unknown): MathTree {
  const { type, text, attributes, style, children } = Object(node);
  if (typeof text === "string") return text;
  const inner: readonly unknown[] = Array.isArray(children) ? children : [];
  return {
    // Only elements have a type; fragments are looked through when it is drawn.
    name: typeof type === "string" ? type : "",
    attributes: wordsOf(attributes),
    style: wordsOf(style),
    inner: inner.map(treeOf),
  };
}

function wordsOf(values: unknown): Record<string, string> {
  const words = Object.entries(Object(values)).filter(
    ([, value]) => typeof value === "string" || typeof value === "number",
  );
  return Object.fromEntries(words.map(([name, value]) => [name, String(value)]));
}
