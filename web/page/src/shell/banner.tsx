import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useServices } from "./services.ts";

/** Says why nothing can be asked just now, and what is being done about it. Nothing while all is well. */
export function Banner(): JSX.Element | null {
  const { relay, key } = useServices();
  const reach = relay.reach.value;
  const models = relay.models.value;
  if (reach.state === "offline") {
    return <Line text="You are offline. Conversations are kept here; asking works again once the network is back." />;
  }
  if (reach.state === "unreachable") return <Unreachable tryAt={reach.tryAt} />;
  if (reach.state !== "reachable" || models.state === "loading") return null;
  const check = () => void relay.check();
  const askForKey = () => {
    key.ask();
  };
  if (models.state === "failed" && models.wantsKey) {
    return <Line text={models.message} action="Enter a key" onAction={askForKey} />;
  }
  if (models.state === "failed") return <Line text={models.message} action="Try now" onAction={check} />;
  if (models.ids.length > 0) return null;
  return <Line text="The engine behind this relay lists no models." action="Try now" onAction={check} />;
}

function Unreachable({ tryAt }: { tryAt: number }): JSX.Element {
  const { relay } = useServices();
  const seconds = useSecondsUntil(tryAt);
  const text = `The relay does not answer. ${seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…"}`;
  return <Line text={text} action="Try now" onAction={() => void relay.check()} />;
}

function Line({ text, action, onAction }: { text: string; action?: string; onAction?: () => void }): JSX.Element {
  return (
    <div class="banner" role="note">
      <p>{text}</p>
      {action === undefined ? null : (
        <button type="button" class="button" onClick={onAction}>
          {action}
        </button>
      )}
    </div>
  );
}

/** Seconds until a wall clock time in milliseconds, counted down while shown. */
function useSecondsUntil(at: number): number {
  const left = () => Math.max(0, Math.ceil((at - Date.now()) / 1000));
  const [seconds, setSeconds] = useState(left);
  useEffect(() => {
    setSeconds(left());
    const timer = setInterval(() => setSeconds(left()), 500);
    return () => clearInterval(timer);
  }, [at]);
  return seconds;
}
