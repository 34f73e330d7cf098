import { useState } from "react";
import { ChatBox } from "./ChatBox.tsx";

/** Two views, to see what becomes of an answer when its view goes away: `?unmount=stop` or `?unmount=keep`. */
export function App({ relay, onUnmount }: { relay: string; onUnmount: "stop" | "keep" }) {
  const [isChat, setChat] = useState(true);
  return (
    <>
      <nav>
        <button type="button" onClick={() => setChat(!isChat)}>
          {isChat ? "Leave" : "Come back"}
        </button>
      </nav>
      {isChat ? <ChatBox relay={relay} onUnmount={onUnmount} /> : <p>Another view.</p>}
    </>
  );
}
