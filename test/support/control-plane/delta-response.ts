/** A push as one value: the control plane puts it together from parts, and the sidecar reads it in steps. */
import protobuf from "protobufjs/minimal.js";
import {
  assembleResponse,
  encodeResource,
  readHead,
  readParts,
  type Codec,
} from "../../../src/push/codec.ts";
import type { DeltaResponse } from "../../../src/push/messages.ts";

const SYSTEM_VERSION_TAG = 0x0a;

export const deltaResponse: Codec<DeltaResponse> = {
  encode: (response) =>
    assembleResponse(response, response.resources.map(encodeResource)),
  decode(message) {
    const bytes = Buffer.from(message);
    const head = readHead(bytes);
    let step = head.next();
    while (step.done !== true) step = head.next();
    const parts = [...readParts(bytes)];
    return {
      ...step.value,
      systemVersion: systemVersionOf(bytes),
      removed: parts.filter((part) => typeof part === "string"),
      resources: parts.filter((part) => typeof part === "object"),
    };
  },
};

function systemVersionOf(bytes: Buffer): string {
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === SYSTEM_VERSION_TAG) return reader.string();
    reader.skipType(tag & 7);
  }
  return "";
}
