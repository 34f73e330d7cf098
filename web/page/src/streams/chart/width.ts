import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

/** Width taken where the browser cannot tell, in pixels. */
const USUAL_PX = 640;

/** Returns the width of an element's content in whole pixels, anew when it changes. */
export function useWidth(element: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(USUAL_PX);
  useEffect(() => {
    const watched = element.current;
    if (watched === null || typeof ResizeObserver === "undefined") {
      return undefined;
    }
    const observer = new ResizeObserver(([entry]) => {
      const wide = Math.floor(entry?.contentRect.width ?? 0);
      if (wide > 0) {
        setWidth(wide);
      }
    });
    observer.observe(watched);
    return () => observer.disconnect();
  }, [element]);
  return width;
}
