// Makes chat completion calls with the stock openai SDK for Node and its defaults.
//
// Reads from standard input {"baseURL": …, "calls": {NAME: {"kind": "stream" | "block" | "leave", "body": {…}}}};
// writes {NAME: what was seen}, where a call ends with an answer or with an error.

import OpenAI, { APIError } from "openai";
import { text } from "node:stream/consumers";

const { baseURL, calls } = JSON.parse(await text(process.stdin));
const client = new OpenAI({ baseURL, apiKey: "none" });

function errorFields(error) {
  return {
    name: error.constructor.name,
    isAPIError: error instanceof APIError,
    status: error.status ?? null,
    code: error.code ?? null,
    body: error.error ?? null,
    headers: error.headers ? Object.fromEntries(error.headers) : {},
  };
}

async function stream(body, seen, { leave = false } = {}) {
  const { data, response } = await client.chat.completions.create({ ...body, stream: true }).withResponse();
  seen.headers = Object.fromEntries(response.headers);
  for await (const chunk of data) {
    seen.chunks.push(chunk);
    if (leave && chunk.choices[0]?.delta.content) break;
  }
}

async function block(body, seen) {
  const { data, response } = await client.chat.completions.create(body).withResponse();
  seen.headers = Object.fromEntries(response.headers);
  seen.completion = data;
}

const kinds = { stream, block, leave: (body, seen) => stream(body, seen, { leave: true }) };

async function call({ kind, body }) {
  const seen = { chunks: [], headers: {}, completion: null, error: null };
  try {
    await kinds[kind](body, seen);
  } catch (error) {
    seen.error = errorFields(error);
  }
  return seen;
}

const names = Object.keys(calls);
const seen = await Promise.all(names.map((name) => call(calls[name])));
process.stdout.write(JSON.stringify(Object.fromEntries(names.map((name, at) => [name, seen[at]]))));
