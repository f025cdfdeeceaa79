/** A caller's stream of which a test says what comes, and which writes down what is asked of it. */
import type { MeshError } from "../../../src/mesh/errors.ts";
import type {
  BodyReceiver,
  RequestHead,
  ServerStream,
} from "../../../src/wire/exchange.ts";
import { makeField } from "../../../src/wire/fields.ts";

export interface ScriptedStream extends ServerStream {
  readonly heard: string[];
  /** What takes the body now. */
  readonly receiver: BodyReceiver;
}

export function scriptedStream(
  head: Partial<RequestHead> = {},
  fields: Readonly<Record<string, string>> = {},
  ended = false,
): ScriptedStream {
  const heard: string[] = [];
  let taker: BodyReceiver | undefined;
  return {
    heard,
    get receiver() {
      if (taker === undefined) throw new Error("nothing takes the body yet");
      return taker;
    },
    head: {
      method: "POST",
      scheme: "http",
      authority: "orders.shop",
      path: "/",
      protocol: undefined,
      contentLength: undefined,
      acceptsTrailers: false,
      absoluteForm: false,
      ...head,
      fields: Object.entries(fields).map(([name, value]) =>
        makeField(name, value),
      ),
    },
    ended,
    connection: {
      protocol: "h2",
      peer: "spiffe://cluster.local/ns/shop/sa/web",
      remoteAddress: "127.0.0.1",
      remotePort: 1,
      localAddress: "127.0.0.1",
      originalDestination: undefined,
    },
    receive: (receiver) => (taker = receiver),
    informational: ({ status }) => heard.push(`informational ${status}`),
    respond: ({ status, fields }) =>
      heard.push(
        `respond ${status}${fields.map(({ name, value }) => ` ${name}=${value}`).join("")}`,
      ),
    write: (chunk) => {
      heard.push(`write ${chunk.toString()}`);
      return true;
    },
    end: () => heard.push("end"),
    abort: ({ code }: MeshError) => heard.push(`abort ${code}`),
    pause: () => heard.push("pause"),
    resume: () => heard.push("resume"),
  };
}
