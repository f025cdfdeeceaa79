/** Every error of the API: one table of reasons, and the Kubernetes Status object in which it is sent. */
import type { Socket } from "node:net";
import { messageOf, systemCode } from "../../core/errors.ts";
import { CompactedError, ConflictError, StoreError } from "../store/store.ts";

/** Reasons by the names that Kubernetes gives them. */
export type ApiReason =
  | "BadRequest"
  | "Unauthorized"
  | "Forbidden"
  | "NotFound"
  | "MethodNotAllowed"
  | "RequestTimeout"
  | "AlreadyExists"
  | "Conflict"
  | "Expired"
  | "RequestEntityTooLarge"
  | "UnsupportedMediaType"
  | "Invalid"
  | "TooManyRequests"
  | "RequestHeaderFieldsTooLarge"
  | "InternalError"
  | "ServiceUnavailable";

/** The status of each, and when the API responds so. */
export const API_REASONS: Readonly<
  Record<ApiReason, { readonly status: number; readonly text: string }>
> = {
  BadRequest: {
    status: 400,
    text: "the request, its query or its body cannot be read",
  },
  Unauthorized: {
    status: 401,
    text: "there is no token, or it is unknown, revoked or expired",
  },
  Forbidden: {
    status: 403,
    text: "the token does not allow it, or nobody may change that",
  },
  NotFound: { status: 404, text: "there is no such path, resource or token" },
  MethodNotAllowed: {
    status: 405,
    text: "the path has other methods: `Allow` lists them",
  },
  RequestTimeout: {
    status: 408,
    text: "the request did not end in time",
  },
  AlreadyExists: {
    status: 409,
    text: "a resource of that name exists already",
  },
  Conflict: {
    status: 409,
    text: "the resource has changed since it was read: read it again",
  },
  Expired: {
    status: 410,
    text: "the changes asked for are no longer kept: list again",
  },
  RequestEntityTooLarge: { status: 413, text: "the body is over the limit" },
  UnsupportedMediaType: {
    status: 415,
    text: "the content type is not accepted there",
  },
  Invalid: {
    status: 422,
    text: "the resource breaks a rule: `details.causes` say which, and where",
  },
  TooManyRequests: {
    status: 429,
    text: "reads give way to sidecars and writes just now: `Retry-After` says when to ask again",
  },
  RequestHeaderFieldsTooLarge: {
    status: 431,
    text: "the request's head is over the limit",
  },
  InternalError: {
    status: 500,
    text: "a defect of the control plane: its log says more",
  },
  ServiceUnavailable: {
    status: 503,
    text: "the store cannot be used, or the control plane is starting or stopping",
  },
};

/** One thing that is wrong, and where. */
export interface Cause {
  /** Like `spec.rules[0].matches[1].path.value`; "" for the document as a whole. */
  readonly field: string;
  readonly message: string;
}

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly reason: ApiReason;
  readonly causes: readonly Cause[];

  constructor(
    reason: ApiReason,
    message: string,
    causes: readonly Cause[] = [],
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.causes = causes;
  }
}

export interface StatusBody {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly status: "Success" | "Failure";
  readonly code: number;
  readonly message: string;
  readonly reason?: string;
  readonly details?: { readonly causes: readonly Cause[] };
}

export function failure(error: ApiError): StatusBody {
  return {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    code: API_REASONS[error.reason].status,
    reason: error.reason,
    message: error.message,
    ...(error.causes.length === 0 ? {} : { details: { causes: error.causes } }),
  };
}

export function success(message: string): StatusBody {
  return {
    kind: "Status",
    apiVersion: "v1",
    status: "Success",
    code: 200,
    message,
  };
}

/** "spec.a: is wrong; spec.b: is missing" after what was refused. */
export function invalid(what: string, causes: readonly Cause[]): ApiError {
  const list = causes
    .map(({ field, message }) =>
      field === "" ? message : `${field}: ${message}`,
    )
    .join("; ");
  return new ApiError("Invalid", `${what} is invalid: ${list}`, causes);
}

/** What the server framework finds wrong by itself, by its error codes. */
const FRAMEWORK: Readonly<Record<string, ApiReason>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "UnsupportedMediaType",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "BadRequest",
  FST_ERR_CTP_BODY_TOO_LARGE: "RequestEntityTooLarge",
  FST_ERR_BAD_URL: "BadRequest",
  FST_ERR_MAX_PARAM_LENGTH: "NotFound",
  FST_ERR_ASYNC_CONSTRAINT: "BadRequest",
};

/** Anything thrown, as what the client reads; what is our own defect keeps its details for the log. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof ConflictError)
    return new ApiError(
      thrown.expected === "absent" ? "AlreadyExists" : "Conflict",
      thrown.message,
    );
  if (thrown instanceof CompactedError)
    return new ApiError("Expired", thrown.message);
  if (thrown instanceof StoreError)
    return new ApiError("ServiceUnavailable", thrown.message, [], thrown);
  const reason = FRAMEWORK[codeOf(thrown)];
  if (reason !== undefined) return new ApiError(reason, messageOf(thrown));
  // A body that ended before its Content-Length, or broke off.
  if (statusCodeOf(thrown) === 400)
    return new ApiError("BadRequest", messageOf(thrown));
  return new ApiError(
    "InternalError",
    "the control plane failed on this request; its log says why",
    [],
    thrown,
  );
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string"
    ? thrown.code
    : "";
}

function statusCodeOf(thrown: unknown): number | undefined {
  return thrown instanceof Error &&
    "statusCode" in thrown &&
    typeof thrown.statusCode === "number"
    ? thrown.statusCode
    : undefined;
}

/** A request that never became one: the parser gave up, or the client was too slow. */
export function refuseUnparsed(error: Error, socket: Socket): void {
  if (!socket.writable || systemCode(error) === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const known = UNPARSED[systemCode(error) ?? ""] ?? "BadRequest";
  const code = API_REASONS[known].status;
  const body = JSON.stringify(failure(new ApiError(known, error.message)));
  socket.end(
    `HTTP/1.1 ${code} ${known}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

const UNPARSED: Readonly<Record<string, ApiReason>> = {
  HPE_HEADER_OVERFLOW: "RequestHeaderFieldsTooLarge",
  ERR_HTTP_REQUEST_TIMEOUT: "RequestTimeout",
};
