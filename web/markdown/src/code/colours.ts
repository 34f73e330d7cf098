import highlight from "highlight.js/lib/core";
import { findLanguage } from "./languages.ts";

/** A code block. */
export interface Code {
  readonly text: string;
  /** The word behind its fence. */
  readonly language: string;
}

/** Coloured code: text, and what stands in a scope ("title.function"). The text of all together is the code's. */
export type Coloured = string | { readonly scope: string; readonly inner: readonly Coloured[] };

/** Colour code; null if its language is not known. Core is here, the language is loaded when first needed. */
export async function colour({ text, language: word }: Code): Promise<readonly Coloured[] | null> {
  const language = findLanguage(word);
  if (language === null) return null;
  const grammar = await language.load();
  if (highlight.getLanguage(language.name) === undefined) highlight.registerLanguage(language.name, grammar.default);
  const result = highlight.highlight(text, { language: language.name, ignoreIllegals: true });
  return treeOf(result._emitter).inner;
}

/** The emitter of highlight.js 11 keeps a tree, which its types do not tell; see `lib/token_tree.js` there. */
function treeOf(emitter: unknown): { readonly scope: string; readonly inner: readonly Coloured[] } {
  const { root } = Object(emitter);
  return nodeOf(root);
}

function nodeOf(node: unknown): { readonly scope: string; readonly inner: readonly Coloured[] } {
  const { scope, children } = Object(node);
  const inner: readonly unknown[] = Array.isArray(children) ? children : [];
  return {
    scope: typeof scope === "string" ? scope : "",
    inner: inner.map((child) => (typeof child === "string" ? child : nodeOf(child))),
  };
}
