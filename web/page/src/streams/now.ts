import { useEffect, useState } from "preact/hooks";
import { useEnvironment } from "./environment.ts";
import { Poll } from "./poll.ts";

/** Returns Unix seconds, anew every second while the tab is shown. */
export function useNow(): number {
  const { nowS, surroundings } = useEnvironment();
  const [now, setNow] = useState(nowS);
  useEffect(() => {
    const poll = new Poll(async () => {
      setNow(nowS());
      return 1000;
    }, surroundings);
    poll.start();
    return () => poll.stop();
  }, [nowS, surroundings]);
  return now;
}
