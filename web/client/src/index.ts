export type { Callbacks } from "./callbacks.ts";
export type { ChatChunk } from "./chunk.ts";
export { LLMStreamClient } from "./client.ts";
export type { Clock } from "./clock.ts";
export {
  type IncrementalFilter,
  type MetricsConfig,
  STREAM_CONFIG,
  type StreamConfig,
  type StreamConfigInput,
} from "./config.ts";
export { StreamError } from "./errors.ts";
export type { ErrorKind } from "./fault.ts";
export type { Generation, StreamResult, StreamUpdate } from "./generation.ts";
export type { JsonObject } from "./json.ts";
export type { StreamMetrics, TransportName } from "./metrics.ts";
export type { AttachOptions, ClientOptions, GenerateOptions, StreamOptions } from "./options.ts";
export type { ChatMessage, ChatPayload } from "./payload.ts";
export type { SavedStream } from "./saved.ts";
export type { StreamStatus } from "./status.ts";
export type { ToolCall } from "./tool-calls.ts";
