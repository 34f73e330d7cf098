import type { MathTree } from "./trees.ts";

const MATHML = "http://www.w3.org/1998/Math/MathML";

/** Elements of MathML Core that show something and do nothing. */
const ELEMENTS = new Set(
  (
    "math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt mstyle " +
    "msub msubsup msup mtable mtd mtext mtr munder munderover none"
  ).split(" "),
);

/** Attributes that say how a formula looks: none of them names an address, an id, a handler or a style. */
const ATTRIBUTES = new Set(
  (
    "accent accentunder columnalign columnlines columnspacing depth dir display displaystyle fence form frame height largeop " +
    "linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize movablelimits notation rowlines " +
    "rowspacing rspace scriptlevel separator stretchy symmetric voffset width"
  ).split(" "),
);

/** Style that temml needs, for tables, boxes, spaces and fonts. */
const STYLES = new Set(
  (
    "border borderBottom borderLeft borderRight borderTop color fontFamily fontStyle fontWeight marginLeft mathDepth padding " +
    "paddingBottom paddingLeft paddingRight paddingTop textAlign width"
  ).split(" "),
);
const SAFE_VALUE = /^[\w.%#\s+-]{1,80}$/;

/** How deep a formula's elements may stand; what is deeper is left out. */
const DEPTH = 256;

/** Make the elements of a formula: only those, and only those attributes and styles, that are listed here. */
export function mathElement(document: Document, tree: MathTree): Element | null {
  const place = document.createDocumentFragment();
  append(place, tree, document, 0);
  const { firstElementChild: math, childNodes } = place;
  return childNodes.length === 1 && math?.localName === "math" ? math : null;
}

function append(parent: Node, tree: MathTree, document: Document, depth: number): void {
  if (typeof tree === "string") parent.appendChild(document.createTextNode(tree));
  else if (depth < DEPTH) {
    const element = ELEMENTS.has(tree.name) ? elementOf(tree, document) : null;
    if (element !== null) parent.appendChild(element);
    for (const inner of tree.inner) append(element ?? parent, inner, document, depth + 1);
  }
}

function elementOf(tree: Exclude<MathTree, string>, document: Document): Element {
  const element = document.createElementNS(MATHML, tree.name);
  for (const [name, value] of Object.entries(tree.attributes))
    if (ATTRIBUTES.has(name) && SAFE_VALUE.test(value)) element.setAttribute(name, value);
  const style = "style" in element ? Object(element.style) : {};
  for (const [name, value] of Object.entries(tree.style)) {
    const property = name.replace(/-(\w)/g, (_, unit: string) => unit.toUpperCase());
    // Through CSSOM, which a Content-Security-Policy without inline style allows.
    if (STYLES.has(property) && SAFE_VALUE.test(value)) Reflect.set(style, property, value);
  }
  return element;
}
