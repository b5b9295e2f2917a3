// The control in JavaScript: Fastify with its built-in Ajv takes the same events, checks them against the same schema,
// answers the same shape by a response schema, and stores nothing.
import { randomBytes } from "node:crypto";
import fastify from "fastify";

const text = { type: "string" };
const texts = (...names) => ({ type: "object", properties: Object.fromEntries(names.map((name) => [name, text])) });
const event = {
  type: "object",
  required: ["client"],
  properties: {
    client: { type: "object", properties: { __zarazTrack: text } },
    system: {
      type: "object",
      properties: {
        cookies: { type: "object", additionalProperties: text },
        device: texts("ip", "resolution", "viewport", "language", "user-agent"),
        page: texts("url", "title", "referrer", "encoding"),
      },
    },
    eventmw: { type: "object", properties: { id: { type: "string", minLength: 1, maxLength: 128 } } },
  },
};
const open = { type: "object", additionalProperties: true };
const result = {
  type: "object",
  properties: { fetch: { type: "array" }, execute: { type: "array" }, return: open, cookies: open },
};
const receipt = {
  type: "object",
  properties: {
    id: text, time_recorded: { type: "integer" }, durability: text,
    accepted: { type: "integer" }, rejected: { type: "integer" },
  },
};
const schema = {
  body: {
    type: "object",
    required: ["events"],
    properties: { events: { type: "array", minItems: 1, maxItems: 1000, items: event } },
  },
  response: {
    200: { type: "object", properties: { results: { type: "array", items: result }, receipt } },
  },
};

const app = fastify({ logger: false });
app.post("/zaraz/api", { schema }, async (request) => {
  const count = request.body.events.length;
  return {
    results: request.body.events.map(() => ({ fetch: [], execute: [], return: {}, cookies: {} })),
    receipt: {
      id: randomBytes(16).toString("hex"), time_recorded: Date.now(), durability: "none", accepted: count, rejected: 0,
    },
  };
});
await app.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
