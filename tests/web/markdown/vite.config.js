import { fileURLToPath } from "node:url";

const packages = fileURLToPath(new URL("../../../web/node_modules/", import.meta.url));

export default {
  resolve: { alias: [{ find: /^@headrace\/markdown/, replacement: `${packages}@headrace/markdown` }] },
  // Inline modules would need the policy to allow them.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false } },
};
