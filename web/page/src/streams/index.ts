export { StreamsView } from "./streams_view.tsx";
