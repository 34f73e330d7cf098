import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{client,markdown,page}/tests/**/*.test.{ts,tsx}"],
    // The stream cases wait for sockets; two cores are shared with other work.
    testTimeout: 20_000,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
