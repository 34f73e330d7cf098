import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { download } from "../shell/download.ts";
import { Icon } from "../shell/icons.tsx";
import { useServices } from "../shell/services.ts";
import { type Exchange, fileNameOf, toJSON, toMarkdown } from "../store/export.ts";
import type { Thread } from "./thread.ts";

const FORMATS = [
  { label: "Markdown", ending: "md", type: "text/markdown", write: toMarkdown },
  { label: "JSON", ending: "json", type: "application/json", write: toJSON },
] as const;

/** Saves the conversation as a file. */
export function ExportMenu({ conversationId }: { conversationId: string }): JSX.Element | null {
  const { chat, library } = useServices();
  const menu = useRef<HTMLDivElement>(null);
  const thread = chat.thread(conversationId);
  if (thread.turns.value.length === 0) return null;
  const save = ({ ending, type, write }: (typeof FORMATS)[number]) => {
    const title = library.conversations.value.find(({ id }) => id === conversationId)?.title ?? "Conversation";
    download(`${fileNameOf(title)}.${ending}`, new Blob([write(title, exchangesIn(thread))], { type }));
    menu.current?.hidePopover();
  };
  return (
    <>
      <button type="button" class="icon-button" aria-label="Export" title="Export" popovertarget="export-menu">
        <Icon name="share" />
      </button>
      <div class="menu" id="export-menu" popover="auto" ref={menu}>
        <p class="menu-title">Export as</p>
        {FORMATS.map((format) => (
          <button type="button" key={format.ending} onClick={() => save(format)}>
            {format.label}
          </button>
        ))}
      </div>
    </>
  );
}

function exchangesIn(thread: Thread): Exchange[] {
  return thread.turns
    .peek()
    .map(({ question, answers }) => ({ question, answers: answers.map((answer) => answer.toRecord()) }));
}
