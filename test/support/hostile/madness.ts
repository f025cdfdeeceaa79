/** The ways in which a control plane goes mad, each a round that is repeated for as long as it lasts. */
import { randomBytes } from "node:crypto";
import { lookup, pushedResource } from "../../../src/push/codec.ts";
import type { DeltaResource } from "../../../src/push/messages.ts";
import { LOOKUP_TYPE, RESOURCE_TYPE } from "../../../src/push/names.ts";
import { framed } from "../peers/raw-grpc.ts";
import { FRAME_FLOODS, type FrameFlood } from "./mad-frames.ts";
import { pushed, serviceNamed, type MadStream } from "./mad-plane.ts";

export type Madness = MessageMadness | FrameFlood;

/** In what it says as gRPC. */
export type MessageMadness =
  | "flood of revisions"
  | "flood of empty messages"
  | "flood of unknown types"
  | "300 MB of resources"
  | "a message of 300 MB"
  | "garbage"
  | "garbage in resources"
  | "resources of many values"
  | "endless results of questions"
  | "stops within a message"
  | "reads nothing"
  | "hangs up";

type Round = (stream: MadStream, round: number) => Promise<void>;

/** Services that a push changes. */
const MANY = 200;
const MEGABYTE = 1_000_000;
const HUGE = 300 * MEGABYTE;
/** A thousand messages without a byte. */
const TINY = Buffer.alloc(5000);
const ZEROS = Array.from({ length: 150_000 }, () => 0);

const IN_MESSAGES: Readonly<Record<MessageMadness, Round>> = {
  /** Whole, valid pushes, one behind the other. */
  "flood of revisions": repeated(async (stream) => {
    for (const note of ["one", "another"]) {
      await stream.resources(
        Array.from({ length: MANY }, (_, index) =>
          pushed(
            serviceNamed(`orders-${index}`, { note: note.padEnd(500, "x") }),
            note,
          ),
        ),
      );
      await stream.close();
    }
  }),
  "flood of empty messages": (stream) => stream.write(TINY),
  "flood of unknown types": (stream, round) =>
    stream.message(
      Array.from({ length: 20 }, (_, index) => ({
        name: `Thing/shop/thing-${round}-${index}`,
        version: "1",
        typeUrl: "type.googleapis.com/x",
        value: randomBytes(100),
      })),
      "type.googleapis.com/x",
    ),
  /** A config that no sidecar takes, in messages of a usual size. */
  "300 MB of resources": async (stream, round) => {
    for (let index = 0; index < HUGE / 400_000; index += 1)
      await stream.resources(
        Array.from({ length: 100 }, (_, each) =>
          pushed(
            serviceNamed(`large-${round}-${index}-${each}`, {
              note: "x".repeat(4000),
            }),
            "1",
          ),
        ),
      );
    await stream.close();
  },
  "a message of 300 MB": async (stream) => {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(HUGE, 1);
    await stream.write(prefix);
    for (let sent = 0; sent < HUGE && !stream.stream.closed; sent += MEGABYTE)
      await stream.write(Buffer.alloc(MEGABYTE));
  },
  /** Bytes that are no message. */
  garbage: (stream) => stream.write(framed(randomBytes(1000))),
  /** A push that is whole, of resources that are not JSON. */
  "garbage in resources": repeated(async (stream) => {
    for (let version = 0; version < 100; version += 1) {
      await stream.resources([
        {
          name: "Service/shop/garbage",
          version: String(version),
          typeUrl: RESOURCE_TYPE,
          value: pushedResource.encode({
            kind: "Service",
            namespace: "shop",
            name: "garbage",
            json: randomBytes(1000),
          }),
        },
      ]);
      await stream.close();
    }
  }),
  /** Of which each value is a mistake. */
  "resources of many values": async (stream, round) => {
    const resource = { ...serviceNamed("orders"), spec: { ports: ZEROS } };
    await stream.resources([pushed(resource, String(round))]);
    await stream.close();
  },
  /** What nobody asked for. */
  "endless results of questions": async (stream, round) => {
    await stream.resources(
      Array.from({ length: 50 }, (_, index) => unasked(`h${round}-${index}`)),
    );
    await stream.close();
  },
  "stops within a message": async ({ stream }) => {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(MEGABYTE, 1);
    stream.write(Buffer.concat([prefix, Buffer.alloc(MEGABYTE / 2)]));
    await closing(stream);
  },
  /** Reads no acknowledgement, and sends all the more. */
  "reads nothing": (stream) => {
    stream.stream.pause();
    return stream.write(TINY);
  },
  /** Each stream that is opened. */
  "hangs up": async ({ stream }) => {
    stream.close();
    await closing(stream);
  },
};

/** Below gRPC. */
const IN_FRAMES = Object.fromEntries(
  Object.entries(FRAME_FLOODS).map(([name, block]): [string, Round] => [
    name,
    (stream, round) => stream.raw(block(stream.stream.id ?? 1, round)),
  ]),
) as Readonly<Record<FrameFlood, Round>>;

export const MADNESS: Readonly<Record<Madness, Round>> = {
  ...IN_MESSAGES,
  ...IN_FRAMES,
};

/** Made once for each stream, so that nothing but the sidecar holds it up. */
function repeated(make: (stream: MadStream) => Promise<void>): Round {
  const made = new WeakMap<MadStream, Buffer>();
  return async (stream) => {
    const bytes =
      made.get(stream) ?? (await stream.recorded(() => make(stream)));
    made.set(stream, bytes);
    await stream.write(bytes);
  };
}

function unasked(host: string): DeltaResource {
  return {
    name: `Host//${host}.shop`,
    version: "none",
    typeUrl: LOOKUP_TYPE,
    value: lookup.encode({ services: [] }),
  };
}

function closing(stream: MadStream["stream"]): Promise<void> {
  return stream.closed
    ? Promise.resolve()
    : new Promise((resolve) => void stream.once("close", () => resolve()));
}
