/** The chunked transfer coding, decoded (RFC 9112 7.1): a state machine over bytes that may be cut anywhere. */
import { FieldClass } from "../../../mesh/field-class.ts";
import type { BodyReceiver } from "../../exchange.ts";
import { type Field } from "../../fields.ts";
import { fieldOfLine } from "./field-lines.ts";
import { FIELD_VALUE, TOKEN } from "../../grammar.ts";
import type { Http1Limits } from "../limits.ts";
import { Http1Fault } from "../fault.ts";

/** What the next byte belongs to. */
type State =
  | "chunk-size"
  | "chunk-ext-name"
  | "chunk-ext-val"
  | "quoted-string"
  | "quoted-pair"
  | "after quoted-string"
  | "chunk-size LF"
  | "chunk-data"
  | "chunk-data CR"
  | "chunk-data LF"
  | "trailer-section"
  | "done";

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Leading zeros are in the grammar, and without a bound are a way to send nothing for ever. */
const LONGEST_SIZE = 16;
/** Chunks below this are reported; bytes. */
const TINY = 64;

/** What a trailer section may not hold (RFC 9110 6.5.1): framing, routing, credentials, content's own description, and the mesh's names. */
const FORBIDDEN_TRAILERS =
  FieldClass.CONNECTION |
  FieldClass.FRAMING |
  FieldClass.MESH |
  FieldClass.NO_TRAILER;

export class ChunkedDecoder {
  readonly #limits: Http1Limits;
  #state: State = "chunk-size";
  #size = 0;
  #digits = 0;
  /** Bytes of this chunk's extensions, and whether the part in progress has any. */
  #extension = 0;
  #part = 0;
  /** Bytes of this chunk's data that are still to come. */
  #left = 0;
  #line = "";
  #trailerBytes = 0;
  #trailers: Field[] | undefined;
  /** A chunk of this body has come. */
  #begun = false;
  readonly #onTiny: (() => void) | undefined;

  /** `onTiny` is called for each tiny chunk but a body's first, and may throw `Http1Fault`. */
  constructor(limits: Http1Limits, onTiny?: () => void) {
    this.#limits = limits;
    this.#onTiny = onTiny;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /** The trailer section, once done; undefined where it was empty. */
  get trailers(): readonly Field[] | undefined {
    return this.#trailers;
  }

  /**
   * Decodes bytes[start, end) and gives the chunk-data in it to `receiver`, in one piece: what is in several chunks is moved
   * together in place, since a peer that sends tiny chunks must not cost a call and a frame for each. Returns where it
   * stopped: `end`, or behind the last byte of the body. Throws `Http1Fault`.
   */
  decode(
    bytes: Buffer,
    start: number,
    end: number,
    receiver: Pick<BodyReceiver, "data"> | undefined,
  ): number {
    let at = start;
    let from = start;
    let to = start;
    while (at < end && this.#state !== "done") {
      if (this.#state === "chunk-data") {
        const length = Math.min(this.#left, end - at);
        if (to === from) {
          from = at;
          to = at;
        } else bytes.copyWithin(to, at, at + length);
        to += length;
        at += length;
        this.#left -= length;
        if (this.#left === 0) this.#state = "chunk-data CR";
      } else if (this.#state === "trailer-section") {
        at = this.#trailerLine(bytes, at, end);
      } else {
        this.#octet(bytes[at] ?? 0);
        at += 1;
      }
    }
    if (to > from) receiver?.data(bytes.subarray(from, to));
    return at;
  }

  #octet(octet: number): void {
    switch (this.#state) {
      case "chunk-size":
        this.#sizeOctet(octet);
        return;
      case "chunk-ext-name":
      case "chunk-ext-val":
      case "quoted-string":
      case "quoted-pair":
      case "after quoted-string":
        this.#extensionOctet(octet);
        return;
      case "chunk-size LF":
        this.#expect(octet, LF);
        if (this.#size > 0) {
          if (this.#size < TINY && this.#begun) this.#onTiny?.();
          this.#begun = true;
        }
        this.#left = this.#size;
        this.#state = this.#size === 0 ? "trailer-section" : "chunk-data";
        this.#size = 0;
        this.#digits = 0;
        this.#extension = 0;
        return;
      case "chunk-data CR":
        this.#expect(octet, CR);
        this.#state = "chunk-data LF";
        return;
      case "chunk-data LF":
        this.#expect(octet, LF);
        this.#state = "chunk-size";
        return;
      default:
        return;
    }
  }

  /** chunk-size = 1*HEXDIG; nothing but CRLF or an extension may follow, not even white space. */
  #sizeOctet(octet: number): void {
    const digit = hexDigit(octet);
    if (digit >= 0) {
      this.#digits += 1;
      this.#size = this.#size * 16 + digit;
      if (this.#digits > LONGEST_SIZE || this.#size > Number.MAX_SAFE_INTEGER)
        throw new Http1Fault("grammar", "a chunk size is too large");
      return;
    }
    if (this.#digits === 0 || (octet !== CR && octet !== SEMICOLON))
      throw new Http1Fault("grammar", "a chunk size is not a hex number");
    this.#afterSize(octet);
  }

  #afterSize(octet: number): void {
    this.#part = 0;
    this.#state = octet === CR ? "chunk-size LF" : "chunk-ext-name";
  }

  /** chunk-ext = *( ";" chunk-ext-name [ "=" ( token / quoted-string ) ] ), without the "bad white space" of RFC 9112 7.1.1. */
  #extensionOctet(octet: number): void {
    this.#extension += 1;
    if (this.#extension > this.#limits.chunkExtensionBytes)
      throw new Http1Fault(
        "grammar",
        `chunk extensions over ${this.#limits.chunkExtensionBytes} bytes`,
      );
    const ends = octet === CR || octet === SEMICOLON;
    switch (this.#state) {
      case "chunk-ext-name":
      case "chunk-ext-val":
        if (TOKEN[octet] === 1) this.#part += 1;
        else if (this.#part > 0 && ends) this.#afterSize(octet);
        else if (
          this.#part > 0 &&
          octet === EQUALS &&
          this.#state === "chunk-ext-name"
        ) {
          this.#state = "chunk-ext-val";
          this.#part = 0;
        } else if (
          this.#part === 0 &&
          octet === QUOTE &&
          this.#state === "chunk-ext-val"
        )
          this.#state = "quoted-string";
        else throw extensionFault();
        return;
      case "quoted-string":
        if (octet === QUOTE) this.#state = "after quoted-string";
        else if (octet === BACKSLASH) this.#state = "quoted-pair";
        else if (FIELD_VALUE[octet] !== 1) throw extensionFault();
        return;
      case "quoted-pair":
        if (FIELD_VALUE[octet] !== 1) throw extensionFault();
        this.#state = "quoted-string";
        return;
      default:
        if (!ends) throw extensionFault();
        this.#afterSize(octet);
    }
  }

  #expect(octet: number, expected: number): void {
    if (octet !== expected)
      throw new Http1Fault("grammar", "a chunk does not end in CRLF");
  }

  /** Takes what is there of one line of the trailer section; the empty line ends the body. */
  #trailerLine(bytes: Buffer, at: number, end: number): number {
    const found = bytes.indexOf(LF, at);
    const lineEnd = found === -1 || found >= end ? end : found + 1;
    this.#trailerBytes += lineEnd - at;
    if (this.#trailerBytes > this.#limits.trailerBytes)
      throw new Http1Fault(
        "head",
        `trailers over ${this.#limits.trailerBytes} bytes`,
      );
    this.#line += bytes.toString("latin1", at, lineEnd);
    // Asked of the bytes: V8 copies a text that was put together from pieces when it is looked into, each time all of it.
    if (bytes[lineEnd - 1] !== LF) return lineEnd;
    if (!this.#line.endsWith("\r\n"))
      throw new Http1Fault("grammar", "a trailer line ends in a bare LF");
    const line = this.#line.slice(0, -2);
    this.#line = "";
    if (line === "") this.#state = "done";
    else this.#takeTrailer(fieldOfLine(line));
    return lineEnd;
  }

  #takeTrailer(field: Field): void {
    if ((field.bits & FORBIDDEN_TRAILERS) !== 0)
      throw new Http1Fault(
        "grammar",
        "a trailer that belongs in the head (RFC 9110 6.5.1)",
      );
    this.#trailers ??= [];
    this.#trailers.push(field);
    if (this.#trailers.length > this.#limits.headerCount)
      throw new Http1Fault(
        "head",
        `more than ${this.#limits.headerCount} trailers`,
      );
  }
}

function extensionFault(): Http1Fault {
  return new Http1Fault("grammar", "a chunk extension is malformed");
}

function hexDigit(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  const lower = octet | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
