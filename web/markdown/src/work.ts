/** What drawing took so far; counted, so that tests can bound it without a clock. */
export class Work {
  /** UTF-16 units read as inline markdown, each time they are read. */
  lexed = 0;
  /** DOM nodes made. */
  nodes = 0;
  /** UTF-16 units written into DOM text nodes of code. */
  coded = 0;
}
