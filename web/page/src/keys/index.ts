export { KeysView } from "./keys_view.tsx";
