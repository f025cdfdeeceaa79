/** A request that is over, as the filter of the access log asks about it. */
import type { LoggedRequest } from "../../policy/telemetry/filter.ts";
import type { Attribute } from "../../resources/telemetry/filter.ts";
import type { AccessRecord } from "../../telemetry/access-log.ts";
import { fieldValue, type Fields } from "../../wire/fields.ts";

type Ask = (record: AccessRecord) => string | number | boolean;

const ATTRIBUTES: Readonly<Record<Attribute, Ask>> = {
  "request.method": ({ method }) => method,
  "request.host": ({ authority }) => authority,
  "request.url_path": ({ path }) => path,
  "request.protocol": ({ protocol }) =>
    protocol === "h2" ? "HTTP/2" : "HTTP/1.1",
  "request.size": ({ bytesReceived }) => bytesReceived,
  "request.duration": ({ durationMs }) => durationMs,
  "response.code": ({ status }) => status,
  "response.size": ({ bytesSent }) => bytesSent,
  "connection.mtls": ({ peer }) => peer !== undefined,
  "connection.uri_san_peer_certificate": ({ peer }) => peer ?? "",
  "wherry.destination": ({ destination }) => destination ?? "",
  "wherry.reason": ({ reason }) => reason ?? "",
};

export function loggedRequest(
  record: AccessRecord,
  fields: Fields,
): LoggedRequest {
  return {
    attribute: (name) => ATTRIBUTES[name](record),
    header: (name) => fieldValue(fields, name),
  };
}
