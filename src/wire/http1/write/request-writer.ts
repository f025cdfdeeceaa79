/** The start of a request: its head into the output, and the framing of its body settled (RFC 9112 6.2, 7.1; RFC 9110 8.6). */
import { MeshError } from "../../../mesh/errors.ts";
import type { RequestHead } from "../../exchange.ts";
import type { BodyWriter } from "./body-writer.ts";
import {
  CHUNKED,
  contentLengthLine,
  encodeRequest,
  UPGRADE,
} from "./encode.ts";
import type { Output } from "../../socket-output.ts";
import { Http1Fault } from "../fault.ts";
import { WEBSOCKET } from "../../websocket/handshake.ts";

/** Methods that are expected to have a body: that they have none is said (RFC 9110 8.6). */
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/** An error where HTTP/1.1 cannot carry this request; then nothing of it is in the output. */
export function beginRequest(
  head: RequestHead,
  ended: boolean,
  output: Output,
  writer: BodyWriter,
): MeshError | undefined {
  const { contentLength, protocol } = head;
  if (protocol !== undefined && protocol !== WEBSOCKET)
    return new MeshError(
      "UNSUPPORTED",
      `HTTP/1.1 has no way to ask for ${protocol.slice(0, 40)}`,
      { source: "proxy", unprocessed: true },
    );
  try {
    if (protocol !== undefined) {
      output.text(encodeRequest({ ...head, acceptsTrailers: false }, UPGRADE));
      writer.begin("close", undefined);
    } else if (head.method === "CONNECT") {
      output.text(encodeRequest(head, ""));
      // Once the tunnel is open, its bytes are as they are.
      writer.begin("close", undefined);
    } else if (contentLength !== undefined) {
      if (ended && contentLength > 0)
        throw new Http1Fault("grammar", "a body announced and not there");
      output.text(encodeRequest(head, contentLengthLine(contentLength)));
      writer.begin("length", contentLength);
    } else if (ended) {
      const own = WITH_BODY.has(head.method) ? contentLengthLine(0) : "";
      output.text(encodeRequest(head, own));
      writer.begin("none", undefined);
    } else {
      output.text(encodeRequest(head, CHUNKED));
      writer.begin("chunked", undefined);
    }
    return undefined;
  } catch (fault) {
    if (!(fault instanceof Http1Fault)) throw fault;
    return new MeshError("INTERNAL", fault.message, {
      source: "proxy",
      unprocessed: true,
      cause: fault,
    });
  }
}
