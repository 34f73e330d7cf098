import type { JSX } from "preact";

/** Strokes on a 24 by 24 field. All are decoration: the control they stand in bears the name. */
const PATHS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  down: "M12 5v14M6 13l6 6 6-6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5l4.5 4.5L19 7.5",
  retry: "M20 12a8 8 0 1 1-2.4-5.7M20 4v5h-5",
  resume: "M7 5v14l11-7z",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  share: "M12 15V4M8 8l4-4 4 4M5 13v7h14v-7",
  settings: "M4 8h8M18 8h2M4 16h2M12 16h8M18 8a3 3 0 1 1-6 0a3 3 0 1 1 6 0M12 16a3 3 0 1 1-6 0a3 3 0 1 1 6 0",
  back: "M14 6l-6 6 6 6",
  forth: "M10 6l6 6-6 6",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark of the product: water over the edge of a race. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M4 11h12c7 0 6 11 12 11" />
      <path d="M4 18h8c5 0 4 8 9 8" />
    </svg>
  );
}
