/** The only place that turns a failure into a status, a grpc-status or a reset (law 9). */
import { MeshError } from "../../mesh/errors.ts";
import { describesBody } from "../../mesh/field-class.ts";
import { REASONS } from "../../mesh/reasons.ts";
import { GRPC_STATUSES } from "../../mesh/grpc-status.ts";
import {
  applyEdits,
  type HeaderEdits,
} from "../../policy/routing/header-edits.ts";
import type { ServerStream } from "../../wire/exchange.ts";
import { isGrpcCall } from "./grpc.ts";
import { makeField, type Field } from "../../wire/fields.ts";

/** A failure is a MeshError or a defect of ours; a defect is reported as such, without its text. */
export function asMeshError(thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown;
  return new MeshError("INTERNAL", "", { source: "proxy", cause: thrown });
}

/** `CODE; policy=NAMESPACE/NAME`: the value of `x-wherry-reason`. */
export function reasonValue(error: MeshError): string {
  return error.policy === undefined
    ? error.code
    : `${error.code}; policy=${error.policy}`;
}

export interface RescueOptions {
  /** The caller is inside the mesh (on the link, or the local application): it learns the reason. */
  readonly inside: boolean;
  /** Seconds for `Retry-After`, where the reason asks for it. */
  readonly retryAfter?: number;
  /** By the route's CORS. A browser keeps a response without it from the page, status and all. */
  readonly readers?: HeaderEdits | undefined;
}

/** Responds to `stream`, whose response has not begun, with `error`. Returns the HTTP status that was sent. */
export function rescue(
  stream: ServerStream,
  error: MeshError,
  options: RescueOptions,
): number {
  const { text, hint, response } = REASONS[error.code];
  const { answer } = error;
  if (error.code === "CLIENT_CLOSED") {
    stream.abort(error);
    return response.status;
  }
  if (answer?.reset === true) {
    stream.abort(error);
    return 0;
  }
  const status = answer?.status ?? response.status;
  const fields: Field[] =
    options.readers === undefined
      ? []
      : applyEdits([], options.readers, makeField);
  if (options.inside)
    fields.push(makeField("x-wherry-reason", reasonValue(error), "without"));
  if (response.retryAfter)
    fields.push(makeField("retry-after", String(secondsOf(error, options))));
  const grpc = isGrpcCall(stream, options.inside);
  for (const [name, value] of answer?.fields ?? [])
    if (!grpc || !describesBody(name)) fields.push(makeField(name, value));
  if (grpc) {
    fields.push(
      makeField("content-type", "application/grpc"),
      ...grpcStatusOf(error, options.inside ? error.message : text),
    );
    stream.respond({ status: 200, fields, contentLength: undefined }, true);
    return 200;
  }
  const page = options.inside
    ? `${error.code}: ${error.message}. ${hint}\n`
    : `${text}.\n`;
  const body = answer?.body ?? Buffer.from(page, "utf8");
  if (answer?.body === undefined)
    fields.push(makeField("content-type", "text/plain; charset=utf-8"));
  // A CONNECT or HEAD that is refused has no use for a body, and HEAD must not have one.
  const bare = stream.head.method === "HEAD";
  stream.respond({ status, fields, contentLength: body.length }, bare);
  if (!bare) {
    stream.write(body);
    stream.end();
  }
  return status;
}

/** An exchange that was on its way. */
interface Relayed {
  readonly stream: ServerStream;
  readonly plan: { readonly inside: boolean; readonly retryAfter: number };
  readonly record: { readonly readers: HeaderEdits | undefined };
  readonly grpc: boolean;
}

/** As `rescue`. */
export function rescueExchange(
  { stream, plan, record }: Relayed,
  error: MeshError,
): number {
  return rescue(stream, error, {
    inside: plan.inside,
    readers: record.readers,
    retryAfter: Math.ceil(plan.retryAfter / 1000),
  });
}

/**
 * Ends a response that has begun, so that nobody takes it for whole. gRPC has its status for that, behind what was sent: a stream whose
 * proxy leaves is ended by it. For a caller that stalls, or may not hear more, there is nothing but to break it off.
 */
export function breakOff(
  { stream, grpc }: Pick<Relayed, "stream" | "grpc">,
  error: MeshError,
): void {
  if (!grpc || error.code !== "DRAINING" || stream.connection.protocol !== "h2")
    stream.abort(error);
  else stream.end(grpcStatusOf(error, REASONS[error.code].text));
}

function grpcStatusOf(
  { answer, code }: MeshError,
  message: string,
): readonly Field[] {
  const status = answer?.grpc ?? GRPC_STATUSES[REASONS[code].response.grpc];
  return [
    makeField("grpc-status", String(status)),
    makeField("grpc-message", percentEncode(message), "without"),
  ];
}

function secondsOf(error: MeshError, { retryAfter }: RescueOptions): number {
  const own = error.answer?.retryAfter;
  return Math.max(
    1,
    own === undefined ? (retryAfter ?? 1) : Math.ceil(own / 1000),
  );
}

/** The Percent-Encoded form of grpc-message (gRPC over HTTP/2, "Responses"): all but printable ASCII, and "%". */
function percentEncode(text: string): string {
  let encoded = "";
  for (const byte of Buffer.from(text, "utf8"))
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return encoded;
}
