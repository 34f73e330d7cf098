/** One line of the stream, as JSON. */
interface Line {
  text: string;
}

/**
 * Reads an answer of newline-delimited JSON and hands over the text of each line as it comes.
 *
 * @throws {TypeError} The connection broke, or a line is not what it should be.
 */
export async function readLines(url: string, onText: (text: string) => void): Promise<void> {
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new TypeError(`${url}: ${response.status}`);
  let rest = "";
  for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onText(textOf(line));
  }
  if (rest !== "") throw new TypeError(`${url}: the last line was cut short`);
}

function textOf(line: string): string {
  const { text }: Partial<Line> = JSON.parse(line);
  if (typeof text !== "string") throw new TypeError(`a line has no text: ${line.slice(0, 100)}`);
  return text;
}
