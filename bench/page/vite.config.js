import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

/** The built package, by path: were it a dependency, npm would install that folder's packages, too. */
const markdown = fileURLToPath(new URL("../../web/markdown/dist/index.js", import.meta.url));

export default defineConfig({
  logLevel: "error",
  resolve: { alias: { "@headrace/markdown": markdown } },
  build: { target: "es2022", modulePreload: false },
});
