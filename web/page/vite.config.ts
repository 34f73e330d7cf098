import { defineConfig } from "vite";

/** A relay to develop against; `headrace serve` listens there by default. */
const RELAY = "http://127.0.0.1:8080";

/** To the relay a page of another port is a foreign site. */
const THROUGH = { target: RELAY, changeOrigin: true, headers: { origin: RELAY } };

export default defineConfig({
  base: "/",
  build: {
    outDir: "../../src/headrace/page",
    emptyOutDir: true,
    // light-dark() and popovers are in all engines from these on.
    target: ["chrome123", "firefox128", "safari17.5"],
    // The relay's policy allows files of its own only, nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  worker: { format: "es" },
  server: { proxy: { "/v1": { ...THROUGH, ws: true }, "/api": THROUGH } },
});
