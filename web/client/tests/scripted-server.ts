/** A server that does what a stream case says, on real sockets. See tests/cases/README.md. */

import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

export interface Expectation {
  method: string;
  path: string;
  headers?: Record<string, string>;
}

export type Piece = string | { base64: string } | { until: "cancel" };

export interface Connection {
  expect: Expectation;
  reply: { status: number; headers: Record<string, string>; body: Piece[] } | null;
  then: "end" | "close" | "reset" | "hang";
  repeat?: boolean;
  optional?: boolean;
}

interface Request {
  method: string;
  path: string;
  headers: Map<string, string>;
}

/** Serves the connections of one case, each request on a connection of its own. */
export class ScriptedServer {
  /** Where the client did what the case does not have. */
  readonly problems: string[] = [];
  cancels = 0;
  #connections: Connection[];
  #streamId: string | null;
  #served = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #cancelled: Promise<void>;
  #cancel: () => void = () => {};

  private constructor(connections: Connection[], streamId: string | null) {
    this.#connections = connections;
    this.#streamId = streamId;
    this.#cancelled = new Promise((resolve) => {
      this.#cancel = resolve;
    });
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** @param streamId What `{stream_id}` stands for; null takes it from the first request. */
  static async listen(connections: Connection[], streamId: string | null = null): Promise<ScriptedServer> {
    const server = new ScriptedServer(connections, streamId);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get origin(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the server does not listen");
    return `http://127.0.0.1:${address.port}`;
  }

  /** What the case has and the client never asked for. */
  get left(): Expectation[] {
    return this.#connections.slice(this.#served).flatMap((each) => (each.optional ? [] : [each.expect]));
  }

  async close(): Promise<void> {
    this.#cancel();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {});
    void this.#serve(socket);
  }

  async #serve(socket: Socket): Promise<void> {
    const request = await readRequest(socket);
    if (request === null) return;
    if (request.path.endsWith("/cancel")) {
      this.cancels += 1;
      const body = JSON.stringify({ id: this.#streamId, state: "cancelled" });
      socket.end(`${head(200, { "Content-Type": "application/json" })}${coded(Buffer.from(body))}0\r\n\r\n`);
      this.#cancel();
      return;
    }
    const step = this.#next(request);
    if (step === null) socket.destroy();
    else await this.#reply(socket, step);
  }

  #next(request: Request): Connection | null {
    this.#streamId ??= request.headers.get("headrace-stream-id") ?? null;
    const step = this.#connections[this.#served];
    if (step === undefined) {
      this.problems.push(`one request too many: ${request.method} ${request.path}`);
      return null;
    }
    if (step.repeat) this.#connections = [...this.#connections.slice(0, this.#served), { ...step, optional: true }];
    else this.#served += 1;
    this.#compare(step.expect, request);
    return step;
  }

  #compare(expected: Expectation, { method, path, headers }: Request): void {
    const wanted = this.#filled(expected.path);
    const isSame = wanted.endsWith("*") ? path.startsWith(wanted.slice(0, -1)) : path === wanted;
    if (method !== expected.method || !isSame) {
      this.problems.push(`${method} ${path} instead of ${expected.method} ${wanted}`);
    }
    for (const [name, value] of Object.entries(expected.headers ?? {})) {
      const came = headers.get(name.toLowerCase());
      if (came !== this.#filled(value)) this.problems.push(`${name} is ${came} instead of ${value}`);
    }
  }

  async #reply(socket: Socket, step: Connection): Promise<void> {
    if (step.reply !== null) {
      const { status, headers, body } = step.reply;
      const filled = Object.entries(headers).map(([name, value]) => [name, this.#filled(value)]);
      await write(socket, head(status, Object.fromEntries(filled)));
      for (const piece of body) await this.#sendPiece(socket, piece);
    }
    if (step.then === "end") socket.end("0\r\n\r\n");
    else if (step.then === "close") socket.end();
    else if (step.then === "reset") socket.resetAndDestroy();
  }

  async #sendPiece(socket: Socket, piece: Piece): Promise<void> {
    if (typeof piece === "object" && "until" in piece) await this.#cancelled;
    else
      await write(socket, coded(typeof piece === "string" ? Buffer.from(piece) : Buffer.from(piece.base64, "base64")));
  }

  #filled(text: string): string {
    return text.replaceAll("{stream_id}", this.#streamId ?? "");
  }
}

/** Returns a request whose body was read too; null when the connection closes before. */
function readRequest(socket: Socket): Promise<Request | null> {
  return new Promise((resolve) => {
    let data = Buffer.alloc(0);
    socket.on("close", () => resolve(null));
    socket.on("data", (piece) => {
      data = Buffer.concat([data, typeof piece === "string" ? Buffer.from(piece) : piece]);
      const end = data.indexOf("\r\n\r\n");
      if (end < 0) return;
      const [first = "", ...lines] = data.subarray(0, end).toString().split("\r\n");
      const [method = "", path = ""] = first.split(" ");
      const headers = new Map(lines.map((line) => [line.split(":", 1)[0]?.toLowerCase() ?? "", fieldValue(line)]));
      if (data.length >= end + 4 + Number(headers.get("content-length") ?? 0)) resolve({ method, path, headers });
    });
  });
}

function fieldValue(line: string): string {
  return line.slice(line.indexOf(":") + 1).trim();
}

/** Each piece is a packet of its own as far as that can be had: the next waits until this one was taken. */
async function write(socket: Socket, data: string | Buffer): Promise<void> {
  if (socket.destroyed || data.length === 0) return;
  await new Promise<void>((resolve) => socket.write(data, () => setImmediate(resolve)));
}

function head(status: number, headers: Record<string, string>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  // A 204 has no body (RFC 9112 6.3), so no coding either.
  const coding = status === 204 ? [] : ["Transfer-Encoding: chunked"];
  return [`HTTP/1.1 ${status} X`, ...lines, ...coding, "Connection: close", "", ""].join("\r\n");
}

function coded(data: Buffer): Buffer {
  if (data.length === 0) return data;
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from("\r\n")]);
}
