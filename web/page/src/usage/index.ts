export { UsageView } from "./usage_view.tsx";
