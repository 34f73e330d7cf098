import { defineConfig } from "vite";

// The client's Worker is a module: Vite makes a file of its own of it, since the client names it by
// `new URL("./worker.js", import.meta.url)`.
export default defineConfig({
  base: "./",
  worker: { format: "es" },
});
