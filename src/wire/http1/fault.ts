/** A fault in what came over HTTP/1.1, and the response to a request that is refused for it. */
import { REASONS } from "../../mesh/reasons.ts";
import { REFUSALS, type RefusalKind } from "../refusal.ts";
import { phraseOf } from "./write/phrases.ts";

/** What came breaks the grammar or a limit. The message names the fault and quotes nothing that the peer sent. */
export class Http1Fault extends Error {
  override readonly name = "Http1Fault";
  readonly kind: RefusalKind;

  constructor(kind: RefusalKind, detail: string) {
    super(detail);
    this.kind = kind;
  }
}

/** The whole response to a request that is refused; the connection ends after it. */
export function refusalResponse(fault: Http1Fault): string {
  const { status, code } = REFUSALS[fault.kind];
  const text = `${REASONS[code].text}: ${fault.message}\n`;
  return (
    `HTTP/1.1 ${status} ${phraseOf(status)}\r\n` +
    "content-type: text/plain; charset=utf-8\r\n" +
    `content-length: ${text.length}\r\n` +
    "connection: close\r\n" +
    `x-wherry-reason: ${code}\r\n\r\n${text}`
  );
}
