import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { formatRoute } from "../router.ts";
import type { ConversationRecord } from "../store/types.ts";
import { Icon, Mark } from "./icons.tsx";
import { useServices } from "./services.ts";

/** The conversations of this browser; on a narrow screen it lies over the page while it is open. */
export function Sidebar(): JSX.Element {
  const { panel, library } = useServices();
  const isOpen = panel.value === "sidebar";
  const closer = useRef<HTMLButtonElement>(null);
  useEffect(() => (isOpen ? lendFocus(closer.current) : undefined), [isOpen]);
  const close = () => {
    if (panel.value === "sidebar") panel.value = "none";
  };
  return (
    <>
      <aside id="sidebar" class={isOpen ? "sidebar is-open" : "sidebar"} aria-label="Conversations">
        <div class="sidebar-head">
          <a class="brand" href={formatRoute({ view: "home" })} onClick={close}>
            <Mark />
            Headrace
          </a>
          <button
            type="button"
            class="icon-button only-narrow"
            aria-label="Close conversations"
            ref={closer}
            onClick={close}
          >
            <Icon name="close" />
          </button>
        </div>
        <NewConversation onDone={close} />
        <ConversationList onDone={close} />
        {library.isKept.value ? null : (
          <p class="sidebar-note">This browser keeps nothing for this page. Conversations last until the tab closes.</p>
        )}
      </aside>
      {isOpen ? <div class="scrim" onClick={close} aria-hidden="true" /> : null}
    </>
  );
}

function NewConversation({ onDone }: { onDone: () => void }): JSX.Element {
  const { chat, router } = useServices();
  const begin = () => {
    router.go({ view: "chat", conversationId: chat.newConversationId() });
    onDone();
  };
  return (
    <button type="button" class="new-conversation" onClick={begin}>
      <Icon name="plus" />
      New conversation
    </button>
  );
}

function ConversationList({ onDone }: { onDone: () => void }): JSX.Element {
  const { library } = useServices();
  const conversations = library.conversations.value;
  if (conversations.length === 0) return <p class="sidebar-empty">Your conversations will be listed here.</p>;
  return (
    <ul class="conversations">
      {conversations.map((conversation) => (
        <ConversationItem key={conversation.id} conversation={conversation} onDone={onDone} />
      ))}
    </ul>
  );
}

function ConversationItem(props: { conversation: ConversationRecord; onDone: () => void }): JSX.Element {
  const { router, runs } = useServices();
  const { id, title } = props.conversation;
  const route = router.route.value;
  const isCurrent = route.view === "chat" && route.conversationId === id;
  const isBusy = runs.busy.value.has(id);
  return (
    <li class={isCurrent ? "is-current" : undefined} data-busy={isBusy}>
      <a
        href={formatRoute({ view: "chat", conversationId: id })}
        aria-current={isCurrent ? "page" : undefined}
        onClick={props.onDone}
        title={title}
      >
        <span class="conversation-title">{title}</span>
        {isBusy ? <span class="visually-hidden">, answering</span> : null}
      </a>
      {isBusy ? <span class="busy-mark" aria-hidden="true" /> : null}
      <RemoveButton id={id} title={title} isCurrent={isCurrent} />
    </li>
  );
}

function RemoveButton({ id, title, isCurrent }: { id: string; title: string; isCurrent: boolean }): JSX.Element {
  const { chat, router, notices } = useServices();
  const remove = async () => {
    const undo = await chat.remove(id);
    if (isCurrent) router.go({ view: "home" }, { replace: true });
    notices.show({
      text: "Conversation deleted",
      undo: () => void undo().then(() => router.go({ view: "chat", conversationId: id })),
    });
  };
  return (
    <button type="button" class="icon-button remove" aria-label={`Delete conversation: ${title}`} onClick={remove}>
      <Icon name="trash" />
    </button>
  );
}

/** Give focus to `element`; what is returned gives it back, unless what opened it is gone. */
function lendFocus(element: HTMLElement | null): () => void {
  const before = document.activeElement;
  element?.focus();
  return () => {
    // What was covered can take focus only once it is rendered without `inert`.
    requestAnimationFrame(() => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    });
  };
}
