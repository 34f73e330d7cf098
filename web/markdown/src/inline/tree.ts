/** What inline text is made of. */
export type Inline =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "code"; readonly text: string }
  | { readonly type: "break" }
  | { readonly type: "em" | "strong" | "del"; readonly inner: readonly Inline[] }
  | { readonly type: "link"; readonly href: string; readonly title: string | null; readonly inner: readonly Inline[] }
  | { readonly type: "image"; readonly src: string; readonly title: string | null; readonly text: string }
  | { readonly type: "note"; readonly label: string }
  | { readonly type: "formula"; readonly tex: string; readonly isDisplay: boolean };

/** The words of a tree, as an image's description. */
export function wordsOf(nodes: readonly Inline[]): string {
  return nodes.map(wordOf).join("");
}

function wordOf(node: Inline): string {
  switch (node.type) {
    case "break":
      return "\n";
    case "formula":
      return node.tex;
    case "note":
      return node.label;
    default:
      return "inner" in node ? wordsOf(node.inner) : node.text;
  }
}
